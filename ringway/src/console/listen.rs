//! The console's socket: a thread that accepts, and one for each of a few clients.

use crate::console::{Answer, REQUEST_BYTES_MAX, Request};
use ringway_lock::{Condvar, Mutex, MutexGuard};
use rustix::fs::{Mode, fchmod};
use rustix::net::{AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType};
use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Most clients at the same time.
pub const CLIENTS_MAX: usize = 8;

/// How long a client may be silent.
const SILENCE_MAX: Duration = Duration::from_hours(1);

/// How long a client may take to read an answer.
const WRITE_MAX: Duration = Duration::from_secs(10);

/// How long answers under way may take when the console ends.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// Carries a request out. It may be called on several threads at the same time.
pub type Executor = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// A console that listens. Dropped, it stops, closes its clients' connections and removes its socket.
pub struct Console {
    listener: Arc<UnixListener>,
    /// With the socket's device and inode: a file that took its place is somebody else's.
    path: PathBuf,
    inode: Option<(u64, u64)>,
    clients: Arc<Clients>,
}

struct Clients {
    places: Mutex<Vec<Option<UnixStream>>>,
    /// A client has left.
    left: Condvar,
}

/// Listens at `path`, which only this process's user may open. A socket that nobody listens at is replaced.
///
/// # Errors
/// `AddrInUse` when somebody listens there; else what the kernel says.
pub fn listen(path: &Path, executor: Executor) -> io::Result<Console> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::create_dir(folder)?;
    }
    match UnixStream::connect(path) {
        Ok(_answers) => return Err(io::ErrorKind::AddrInUse.into()),
        // Nobody has it open: a server that was killed left it.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
        Err(_nothing_there) => {}
    }
    listen_on(bind(path)?, path, executor)
}

/// Answers on a socket that listens at `path` already, bound by somebody else.
///
/// # Errors
/// When no thread can be started.
pub fn listen_on(listener: UnixListener, path: &Path, executor: Executor) -> io::Result<Console> {
    let listener = Arc::new(listener);
    let places = Mutex::new((0..CLIENTS_MAX).map(|_| None).collect());
    let clients = Arc::new(Clients { places, left: Condvar::new() });
    let inode = std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let console = Console {
        listener: Arc::clone(&listener),
        path: path.to_owned(),
        inode,
        clients: Arc::clone(&clients),
    };
    let accept = move || {
        // Until the socket is shut down.
        while let Ok((stream, _)) = listener.accept() {
            take_in(stream, &clients, &executor);
        }
    };
    std::thread::Builder::new().name("ringway-console".to_owned()).spawn(accept)?;
    Ok(console)
}

impl Console {
    /// Where it listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let found = std::fs::symlink_metadata(&self.path).ok().map(|found| (found.dev(), found.ino()));
        if found.is_some() && found == self.inode {
            let _gone_already = std::fs::remove_file(&self.path);
        }
        // Wakes the accepting thread, which ends.
        let _not_listening = rustix::net::shutdown(&*self.listener, Shutdown::Both);
        // An answer under way, such as the one that says that the server stops, is still given.
        let places = self.clients.lock();
        for stream in places.iter().flatten() {
            let _gone_already = stream.shutdown(std::net::Shutdown::Read);
        }
        let is_any_there = |places: &mut Vec<Option<UnixStream>>| places.iter().any(Option::is_some);
        let _time_is_up = self.clients.left.wait_timeout_while(places, FAREWELL_MAX, is_any_there);
    }
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, Vec<Option<UnixStream>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Console({})", self.path.display())
    }
}

/// The socket has its mode before anybody can connect: the file is made by `bind` with the mode of the descriptor.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    fchmod(socket.as_fd(), Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

/// Gives a client a thread, or says that there are too many.
fn take_in(stream: UnixStream, clients: &Arc<Clients>, executor: &Executor) {
    let limited =
        stream.set_read_timeout(Some(SILENCE_MAX)).and_then(|()| stream.set_write_timeout(Some(WRITE_MAX)));
    let Ok(handle) = limited.and_then(|()| stream.try_clone()) else { return };
    let place = {
        let mut all = clients.lock();
        let place = all.iter().position(Option::is_none);
        if let Some(place) = place {
            all[place] = Some(handle);
        }
        place
    };
    let Some(place) = place else {
        let full = format!("{CLIENTS_MAX} consoles are open, which is the most there may be.");
        let _client_gone = answer(&stream, &Answer::refused(full));
        return;
    };
    let (clients, executor) = (Arc::clone(clients), Arc::clone(executor));
    let leave = Leave { clients, place };
    let serve = move || {
        let _leave = leave;
        let _client_gone = serve(&stream, &executor);
    };
    // Without a thread the client's place is free again, and its connection closed.
    let _no_thread = std::thread::Builder::new().name("ringway-console".to_owned()).spawn(serve);
}

/// Frees a client's place.
struct Leave {
    clients: Arc<Clients>,
    place: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.clients.lock()[self.place] = None;
        self.clients.left.notify_all();
    }
}

fn serve(stream: &UnixStream, executor: &Executor) -> io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = Vec::new();
        (&mut reader).take(REQUEST_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
        if line.is_empty() {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() >= REQUEST_BYTES_MAX {
            return answer(
                stream,
                &Answer::refused(format!("a request has at most {REQUEST_BYTES_MAX} bytes.")),
            );
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let done = match serde_json::from_slice::<Request>(&line) {
            Ok(request) => executor(&request),
            Err(error) => Answer::refused(format!("this is no request: {error}.")),
        };
        answer(stream, &done)?;
    }
}

fn answer(mut stream: &UnixStream, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    stream.write_all(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::client::Connection;
    use ringway_testkit::Scratch;
    use std::os::unix::fs::PermissionsExt;

    fn echo() -> Executor {
        Arc::new(|request: &Request| {
            Answer::done(serde_json::json!(request.arguments), request.command.clone())
        })
    }

    fn ask(connection: &mut Connection, word: &str) -> Answer {
        let request = Request { command: word.to_owned(), arguments: vec!["x".to_owned()] };
        connection.ask(&request).expect("an answer")
    }

    #[test]
    fn only_the_owner_may_open_it_and_a_stale_one_is_replaced() {
        let folder = Scratch::new("console");
        let path = folder.path().join("run/console.sock");
        let console = listen(&path, echo()).expect("its folder is made");
        let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(listen(&path, echo()).expect_err("somebody listens").kind(), io::ErrorKind::AddrInUse);
        let mut client = Connection::open(&path).expect("it listens");
        let done = ask(&mut client, "hello");
        assert_eq!((done.ok, done.text.as_str(), done.data), (true, "hello\n", serde_json::json!(["x"])));
        drop(console);
        assert!(!path.exists());
        assert!(client.ask(&Request { command: "a".to_owned(), arguments: Vec::new() }).is_err());
        // As a killed server leaves it.
        drop(UnixListener::bind(&path).expect("nothing is there"));
        let _console = listen(&path, echo()).expect("nobody listens");
        ask(&mut Connection::open(&path).expect("it listens"), "again");
    }

    #[test]
    fn a_socket_that_took_its_place_is_not_removed() {
        let folder = Scratch::new("console-place");
        let path = folder.path().join("console.sock");
        let console = listen(&path, echo()).expect("free");
        std::fs::remove_file(&path).expect("ours");
        let successor = listen(&path, echo()).expect("free again");
        drop(console);
        ask(&mut Connection::open(&path).expect("the successor listens"), "hello");
        drop(successor);
        assert!(!path.exists());
    }

    #[test]
    fn clients_and_requests_are_bounded() {
        let folder = Scratch::new("console-bounds");
        let path = folder.path().join("console.sock");
        let _console = listen(&path, echo()).expect("free");
        let mut clients: Vec<Connection> = (0..CLIENTS_MAX)
            .map(|_| {
                let mut client = Connection::open(&path).expect("it listens");
                ask(&mut client, "in");
                client
            })
            .collect();
        let mut refused = String::new();
        BufReader::new(UnixStream::connect(&path).expect("it listens"))
            .read_line(&mut refused)
            .expect("told why");
        assert!(refused.contains("8 consoles are open"), "{refused}");
        drop(clients.pop());
        let until = std::time::Instant::now() + Duration::from_secs(10);
        let mut free = loop {
            let mut next = Connection::open(&path).expect("it listens");
            let answered = next.ask(&Request { command: "in".to_owned(), arguments: Vec::new() });
            if answered.is_ok_and(|answer| answer.ok) {
                break next;
            }
            assert!(std::time::Instant::now() < until, "the place is free again");
        };
        ask(&mut free, "still");
        drop(clients);

        let mut long = loop {
            let stream = UnixStream::connect(&path).expect("it listens");
            let mut writer = &stream;
            writer.write_all(b"{}\n").expect("open");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("an answer");
            if line.contains("missing field") {
                break stream;
            }
            assert!(std::time::Instant::now() < until, "{line}");
        };
        long.write_all(&vec![b' '; REQUEST_BYTES_MAX * 4]).unwrap_or_default();
        let mut rest = String::new();
        let _reset_is_fine = long.read_to_string(&mut rest);
        assert!(rest.is_empty() || rest.contains("at most 4096 bytes"), "{rest}");
    }
}
