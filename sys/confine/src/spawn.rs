//! Programs of others, started with few rights: a session of their own, limits, somebody else's name, nothing inherited.

use rustix::process::{
    Gid, Pid, PidfdFlags, Resource, Rlimit, Signal, Uid, WaitId, WaitIdOptions, WaitIdStatus,
    kill_process_group, pidfd_open, set_parent_process_death_signal, setrlimit, setsid, waitid,
};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a started program, and whatever it starts, may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// CPU time of each process, in seconds; `None`: as much as it likes.
    pub cpu_seconds: Option<u64>,
    /// Address space of each process, in bytes.
    pub memory_bytes: Option<u64>,
    /// Processes and threads of its user, all together. The kernel does not hold root to it.
    pub processes: Option<u64>,
    /// Open descriptors of each process.
    pub open_files: Option<u64>,
}

/// Who a program runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAs {
    /// The user's number.
    pub user: u32,
    /// The group's number.
    pub group: u32,
    /// Numbers of the other groups.
    pub groups: Vec<u32>,
}

/// A program to be started.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file.
    pub file: &'a Path,
    /// Its arguments, behind its own name.
    pub arguments: &'a [&'a OsStr],
    /// All of its environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Its working directory.
    pub folder: &'a Path,
    /// Standard input; nothing is there when it is `None`.
    pub input: Option<OwnedFd>,
    /// Standard output.
    pub output: OwnedFd,
    /// Standard error.
    pub error: OwnedFd,
    /// What it may take.
    pub limits: Limits,
    /// Who it runs as; `None`: who starts it.
    pub run_as: Option<&'a RunAs>,
}

/// A program that was started, the first of its process group. It must be [`Started::reap`]ed.
#[derive(Debug)]
pub struct Started {
    process: Pid,
    handle: OwnedFd,
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// Starts a program, without a shell. Of the descriptors of this process it has the three; it is killed when the thread that
/// started it ends.
///
/// # Errors
/// What the kernel says: `PermissionDenied` for a file that may not be executed, `NotFound`, `WouldBlock` at the limit of
/// processes.
pub fn start(program: Program<'_>) -> io::Result<Started> {
    let Program { file, arguments, environment, folder, input, output, error, limits, run_as } = program;
    let image = Image::new(file, arguments, environment)?;
    let mut command = Command::new(file);
    command.current_dir(folder);
    command.stdin(input.map_or_else(Stdio::null, Stdio::from)).stdout(output).stderr(error);
    let identity = run_as.map(Identity::of);
    // SAFETY: I5: what is done makes system calls, with what was allocated before, and nothing else.
    unsafe {
        command.pre_exec(move || begin(&limits, identity.as_ref()).and_then(|()| Err(image.execute())))
    };
    let child = command.spawn()?;
    let process = Pid::from_child(&child);
    match pidfd_open(process, PidfdFlags::empty()) {
        Ok(handle) => Ok(Started { process, handle }),
        Err(error) => {
            // Without a handle nobody would see its end.
            let _ended_already = kill_process_group(process, Signal::KILL);
            let _reaped = waitid(WaitId::Pid(process), WaitIdOptions::EXITED);
            Err(error.into())
        }
    }
}

impl Started {
    /// Readable when it has ended.
    #[must_use]
    pub fn handle(&self) -> BorrowedFd<'_> {
        self.handle.as_fd()
    }

    /// The number of the process, and of its group and session.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.process.as_raw_nonzero().get()
    }

    /// Asks the whole group to end.
    pub fn terminate(&self) {
        // ESRCH: nobody is left. The number cannot be another group's: its first process is not reaped yet.
        let _ended_already = kill_process_group(self.process, Signal::TERM);
    }

    /// Ends the whole group.
    pub fn kill(&self) {
        let _ended_already = kill_process_group(self.process, Signal::KILL);
    }

    /// How it ended, when it has; it stays unreaped, so that its group's number stays its own.
    ///
    /// # Errors
    /// What `waitid(2)` says.
    pub fn ended(&self) -> io::Result<Option<Ending>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        Ok(waitid(WaitId::PidFd(self.handle.as_fd()), options)?.map(|status| ending(&status)))
    }

    /// Ends what is left of the group, and waits for the first process, which is at its end or ends now.
    ///
    /// # Errors
    /// What `waitid(2)` says.
    pub fn reap(self) -> io::Result<Ending> {
        self.kill();
        loop {
            match waitid(WaitId::PidFd(self.handle.as_fd()), WaitIdOptions::EXITED) {
                Ok(Some(status)) => return Ok(ending(&status)),
                // A signal of ours: wait on.
                Ok(None) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn ending(status: &WaitIdStatus) -> Ending {
    let number = |number: i32| u8::try_from(number & 0xff).unwrap_or(u8::MAX);
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Ending::Code(number(code)),
        (None, signal) => Ending::Signal(number(signal.unwrap_or_default())),
    }
}

/// Numbers as the kernel takes them, made before the fork.
struct Identity {
    user: Uid,
    group: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    fn of(run_as: &RunAs) -> Self {
        Self {
            user: Uid::from_raw(run_as.user),
            group: Gid::from_raw(run_as.group),
            groups: run_as.groups.iter().map(|group| Gid::from_raw(*group)).collect(),
        }
    }
}

/// What is executed. The standard library would execute it by `execvp(3)`, which has a shell read what is no program.
struct Image {
    file: CString,
    /// What the pointers lead to: arguments, then variables.
    _texts: Vec<CString>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

// SAFETY: I6: the pointers lead to what the value itself owns and nobody changes.
unsafe impl Send for Image {}
// SAFETY: I6: as above.
unsafe impl Sync for Image {}

impl Image {
    fn new(file: &Path, arguments: &[&OsStr], environment: Vec<(OsString, OsString)>) -> io::Result<Self> {
        let file = CString::new(file.as_os_str().as_bytes())?;
        let own = std::iter::once(Ok(file.clone()));
        let arguments = own.chain(arguments.iter().map(|argument| CString::new(argument.as_bytes())));
        let mut texts = arguments.collect::<Result<Vec<_>, _>>()?;
        let count = texts.len();
        for (name, value) in environment {
            texts.push(CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())?);
        }
        let pointers = |texts: &[CString]| {
            texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        let (arguments, environment) = (pointers(&texts[..count]), pointers(&texts[count..]));
        Ok(Self { file, _texts: texts, arguments, environment })
    }

    /// Becomes the program; returns only when that is not possible.
    fn execute(&self) -> io::Error {
        // SAFETY: I6: two lists of pointers to texts, each ended by null, which live as long as this process is this program.
        unsafe { libc::execve(self.file.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// What the new process does before it is the program. Between fork and exec: system calls only.
fn begin(limits: &Limits, identity: Option<&Identity>) -> io::Result<()> {
    setsid()?;
    let all = [
        (Resource::Core, Some(0)),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::As, limits.memory_bytes),
        (Resource::Nproc, limits.processes),
        (Resource::Nofile, limits.open_files),
    ];
    for (resource, most) in all {
        if most.is_some() {
            setrlimit(resource, Rlimit { current: most, maximum: most })?;
        }
    }
    if let Some(identity) = identity {
        set_thread_groups(&identity.groups)?;
        set_thread_res_gid(identity.group, identity.group, identity.group)?;
        set_thread_res_uid(identity.user, identity.user, identity.user)?;
    }
    // A change of user takes it back, so it comes behind that.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    crate::signals::accept_all()?;
    close_others()
}

/// Marks every descriptor but the first three to be closed when the program is executed: in a library not all are marked.
fn close_others() -> io::Result<()> {
    // SAFETY: I1: no memory is passed.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    crate::check(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    /// What a shell script says that is started with these limits; and how it ended.
    fn said(script: &str, limits: Limits, run_as: Option<&RunAs>) -> (String, Ending) {
        let (mut near, far) = UnixStream::pair().expect("sockets");
        let error = far.try_clone().expect("a socket");
        let started = start(Program {
            file: Path::new("/bin/sh"),
            arguments: &[OsStr::new("-c"), OsStr::new(script)],
            environment: vec![("ONE".into(), "1".into())],
            folder: Path::new("/usr"),
            input: None,
            output: far.into(),
            error: error.into(),
            limits,
            run_as,
        });
        let started = started.expect("there is a shell");
        let mut text = String::new();
        near.read_to_string(&mut text).expect("text");
        (text, started.reap().expect("it is ours"))
    }

    #[test]
    fn a_program_gets_what_it_is_given_and_nothing_else() {
        // A descriptor that nobody has marked.
        let file = File::open("/dev/null").expect("it is there");
        let unmarked = rustix::io::dup(&file).expect("a descriptor");
        let (text, ending) = said(
            "pwd; env | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD=; ls /proc/$$/fd | wc -l; \
             cut -d' ' -f5,6 /proc/$$/stat; echo $$; cat; kill -l >/dev/null; exit 3",
            Limits::default(),
            None,
        );
        drop(unmarked);
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(lines[..2], ["/usr", "ONE=1"], "{text}");
        // Shells keep a descriptor of their own at times.
        assert!(["3", "4"].contains(&lines[2]), "{text}");
        assert_eq!(lines[3], format!("{0} {0}", lines[4]), "first of its group and session: {text}");
        assert_eq!((lines.len(), ending), (5, Ending::Code(3)));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits {
            cpu_seconds: Some(1),
            memory_bytes: Some(300 << 20),
            processes: Some(50),
            open_files: Some(17),
        };
        let (text, ending) = said("ulimit -n; ulimit -c; ulimit -v; while :; do :; done", limits, None);
        assert_eq!(text, format!("17\n0\n{}\n", 300 << 10));
        // The soft limit is the hard one: there is no second signal.
        assert!(matches!(ending, Ending::Signal(9 | 24)), "{ending:?}");
    }

    #[test]
    fn the_whole_group_ends() {
        let (mut near, far) = UnixStream::pair().expect("sockets");
        let error = far.try_clone().expect("a socket");
        let script = "trap '' TERM; sleep 1000 & sleep 1000 & echo up; wait; wait; sleep 1000";
        let started = start(Program {
            file: Path::new("/bin/sh"),
            arguments: &[OsStr::new("-c"), OsStr::new(script)],
            environment: Vec::new(),
            folder: Path::new("/"),
            input: Some(far.try_clone().expect("a socket").into()),
            output: far.into(),
            error: error.into(),
            limits: Limits::default(),
            run_as: None,
        });
        let started = started.expect("there is a shell");
        let mut up = [0; 3];
        near.read_exact(&mut up).expect("it says that it is up");
        assert_eq!(started.ended().expect("it is ours"), None);
        assert!(near.write_all(b"x").is_ok());
        assert_eq!(started.reap().expect("it is ours"), Ending::Signal(9));
        // All ends of the socket were in the group: its end is the group's. What was not read is a reset.
        let mut rest = Vec::new();
        let ended = near.read_to_end(&mut rest);
        assert!(
            ended.map_or_else(|error| error.kind() == io::ErrorKind::ConnectionReset, |_| true)
                && rest.len() <= 1,
            "{rest:?}"
        );
    }

    #[test]
    fn somebody_else_runs_it() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: only root can start a program as somebody else");
            return;
        }
        let nobody = RunAs { user: 65534, group: 65534, groups: vec![65534] };
        let (text, ending) = said("id -u; id -g; id -G", Limits::default(), Some(&nobody));
        assert_eq!((text.as_str(), ending), ("65534\n65534\n65534\n", Ending::Code(0)));
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let (_near, far) = UnixStream::pair().expect("sockets");
        let attempt = |file: &str| {
            let output = far.try_clone().expect("a socket").into();
            let error = far.try_clone().expect("a socket").into();
            let started = start(Program {
                file: Path::new(file),
                arguments: &[],
                environment: Vec::new(),
                folder: Path::new("/"),
                input: None,
                output,
                error,
                limits: Limits::default(),
                run_as: None,
            });
            started.map(drop).expect_err("it is no program").kind()
        };
        assert_eq!(attempt("/nowhere/program"), io::ErrorKind::NotFound);
        assert_eq!(attempt("/etc/passwd"), io::ErrorKind::PermissionDenied);
        // What the kernel does not know as a program is not given to a shell.
        let text = std::env::temp_dir().join(format!("ringway-no-program-{}", std::process::id()));
        std::fs::write(&text, "echo a shell has read this\n").expect("a temporary file");
        std::fs::set_permissions(&text, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a temporary file");
        assert_eq!(attempt(&text.display().to_string()), io::Error::from_raw_os_error(libc::ENOEXEC).kind());
        std::fs::remove_file(text).expect("a temporary file");
    }
}
