//! php-fpm, started for a test and ended with it.

use crate::{Scratch, free_port};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long it may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// As Debian calls it.
const PROGRAM: &str = "php-fpm8.2";

/// A process manager with its workers.
#[derive(Debug)]
pub struct Fpm {
    child: Child,
    /// Where it listens, as a configuration says it.
    pub address: String,
}

impl Fpm {
    /// On a Unix socket in the folder, with three processes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_unix(place: &Scratch, name: &str) -> Self {
        let socket = place.path().join(format!("{name}.sock"));
        let fpm =
            Self::start(place, name, &socket.display().to_string(), format!("unix:{}", socket.display()));
        fpm.wait(|| UnixStream::connect(&socket).is_ok())
    }

    /// On a port of its own, with three processes.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn on_tcp(place: &Scratch, name: &str) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let fpm = Self::start(place, name, &address, address.clone());
        fpm.wait(|| TcpStream::connect(&address).is_ok())
    }

    fn start(place: &Scratch, name: &str, listen: &str, address: String) -> Self {
        let folder = place.path().display();
        std::fs::create_dir_all(place.path().join("tmp")).expect("it can be had");
        let settings = format!(
            "[global]\nerror_log = {folder}/{name}.log\ndaemonize = no\nlog_level = warning\n\
             [www]\nlisten = {listen}\nuser = root\ngroup = root\npm = static\npm.max_children = 3\n\
             security.limit_extensions = .php\n\
             php_admin_value[session.save_path] = {folder}/tmp\n\
             php_admin_value[upload_tmp_dir] = {folder}/tmp\n\
             php_admin_value[sys_temp_dir] = {folder}/tmp\n\
             php_admin_value[upload_max_filesize] = 8M\nphp_admin_value[post_max_size] = 16M\n\
             php_admin_value[opcache.enable] = 0\n\
             php_admin_flag[log_errors] = on\nphp_admin_flag[display_errors] = off\n"
        );
        let file = place.file(&format!("{name}.conf"), settings.as_bytes());
        let mut command = Command::new(PROGRAM);
        command.process_group(0);
        command.arg("--nodaemonize").arg("--fpm-config").arg(&file);
        if is_root() {
            command.arg("--allow-to-run-as-root");
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child =
            child.unwrap_or_else(|error| panic!("{PROGRAM} does not start: {error}; see cargo xtask test"));
        Self { child, address }
    }

    fn wait(mut self, is_there: impl Fn() -> bool) -> Self {
        let until = Instant::now() + PATIENCE;
        while !is_there() {
            if let Some(status) = self.child.try_wait().expect("it can be had") {
                panic!("{PROGRAM} ended: {status}");
            }
            assert!(Instant::now() < until, "{PROGRAM} does not listen");
            std::thread::sleep(Duration::from_millis(5));
        }
        self
    }
}

impl Drop for Fpm {
    /// Its workers are in its group of processes: when their manager is killed, nobody else ends them.
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _gone = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _reaped = self.child.wait();
    }
}

/// A process's own entry belongs to its user.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|own| own.uid() == 0)
}
