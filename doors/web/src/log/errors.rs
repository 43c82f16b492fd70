//! The error log: what operators should know, from any thread, in order of its weight.
//!
//! Who has something to say never waits: messages go through a bounded queue to a thread of the log's own, which is
//! started by the first of them. When many are alike (same subject, same site), some are written and the rest are counted;
//! what the queue has no room for is counted too, and both counts are written as soon as possible. A message is one line,
//! whatever is in it.

use crate::civil::Civil;
use crate::escape;
use crate::log::files::LogFile;
use ringway_lock::Mutex;
use ringway_pace::{Bucket, Taken, TokenRate};
use std::collections::HashMap;
use std::fmt;
use std::os::fd::OwnedFd;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Bytes of a message before `...` stands for the rest.
pub const MESSAGE_LEN_MAX: usize = 2048;

/// Messages that may wait to be written.
const QUEUE_MAX: usize = 1024;

/// Kinds of messages (subject and site) that are counted one by one; further ones are counted together.
const KINDS_MAX: usize = 256;

/// Messages of one kind that are written at once, and then in every [`KIND_PERIOD_MS`].
const KIND_BURST: u32 = 20;

/// See [`KIND_BURST`].
const KIND_PERIOD_MS: u32 = 60_000;

/// How grave a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Something that was asked for cannot be done.
    Error,
    /// It can, for now, or not as well as it should be.
    Warn,
    /// What changes the server's state: start, reload, stop.
    Notice,
    /// What happens in its normal work.
    Info,
    /// What only its developers want to know.
    Debug,
}

impl Level {
    const ALL: [Self; 5] = [Self::Error, Self::Warn, Self::Notice, Self::Info, Self::Debug];

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Notice => "notice",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

impl FromStr for Level {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|level| level.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is no level; there are error, warn, notice, info and debug"))
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a message is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `2025-11-21T13:14:15.042Z error site: subject: message`
    #[default]
    Text,
    /// A JSON object a line.
    Json,
}

/// An error log. Clones are the same log; they may speak for different sites.
#[derive(Clone)]
pub struct ErrorLog {
    shared: Arc<Shared>,
    site: Option<Arc<str>>,
}

struct Shared {
    level: AtomicU8,
    file: LogFile,
    format: ErrorFormat,
    sender: Mutex<Option<SyncSender<Message>>>,
    kinds: Mutex<Kinds>,
    /// Whether messages that are alike are all written.
    is_whole: bool,
    dropped: AtomicU64,
}

enum Message {
    Line {
        level: Level,
        site: Option<Arc<str>>,
        subject: &'static str,
        text: String,
        left_out: u64,
        unix_ms: u64,
    },
    /// Everything before this is written.
    Flush(SyncSender<()>),
}

impl ErrorLog {
    /// A log to `file` of messages up to `level`.
    #[must_use]
    pub fn new(file: LogFile, format: ErrorFormat, level: Level) -> Self {
        Self::made(file, format, level, false)
    }

    /// The same with every message, however many are alike: for who chooses the messages himself.
    #[must_use]
    pub fn whole(file: LogFile, format: ErrorFormat, level: Level) -> Self {
        Self::made(file, format, level, true)
    }

    fn made(file: LogFile, format: ErrorFormat, level: Level, is_whole: bool) -> Self {
        let shared = Shared {
            is_whole,
            level: AtomicU8::new(level as u8),
            file,
            format,
            sender: Mutex::default(),
            kinds: Mutex::new(Kinds::new()),
            dropped: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), site: None }
    }

    /// The same log, speaking for a site.
    #[must_use]
    pub fn of_site(&self, site: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), site: Some(site.into()) }
    }

    /// Whether messages of `level` are wanted: a look at a number, for those whose message costs something.
    #[must_use]
    pub fn wants(&self, level: Level) -> bool {
        level as u8 <= self.shared.level.load(Ordering::Relaxed)
    }

    /// Which messages are wanted from now on, on all clones.
    pub fn set_level(&self, level: Level) {
        self.shared.level.store(level as u8, Ordering::Relaxed);
    }

    /// Messages that were lost, because the file was too slow or failed. Those left out as one of many alike are not.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed) + self.shared.file.dropped()
    }

    /// Something that was asked for cannot be done. `subject` is the part of the server it is about.
    pub fn error(&self, subject: &'static str, message: fmt::Arguments<'_>) {
        self.say(Level::Error, subject, message);
    }

    /// Something is not as it should be.
    pub fn warn(&self, subject: &'static str, message: fmt::Arguments<'_>) {
        self.say(Level::Warn, subject, message);
    }

    /// The server's state has changed.
    pub fn notice(&self, subject: &'static str, message: fmt::Arguments<'_>) {
        self.say(Level::Notice, subject, message);
    }

    /// Says `message` on `subject`. Never waits.
    pub fn say(&self, level: Level, subject: &'static str, message: fmt::Arguments<'_>) {
        if !self.wants(level) {
            return;
        }
        let admitted =
            if self.shared.is_whole { Some(0) } else { self.kinds().admit(subject, self.site.as_ref()) };
        let Some(left_out) = admitted else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let line =
            Message::Line { level, site: self.site.clone(), subject, text: cut(message), left_out, unix_ms };
        if self.send(line).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Waits until everything said so far is written, at most `within`. For the end of a process.
    pub fn flush(&self, within: Duration) {
        let until = Instant::now() + within;
        let (done, is_done) = sync_channel(1);
        // A thread that was never started has nothing to write.
        if self.sender().is_none() {
            return;
        }
        while self.send(Message::Flush(done.clone())).is_err() {
            if Instant::now() >= until {
                return;
            }
            // The queue is full of what is being written.
            std::thread::sleep(Duration::from_millis(1));
        }
        let _written_or_late = is_done.recv_timeout(until.saturating_duration_since(Instant::now()));
    }

    fn kinds(&self) -> ringway_lock::MutexGuard<'_, Kinds> {
        self.shared.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sender(&self) -> ringway_lock::MutexGuard<'_, Option<SyncSender<Message>>> {
        self.shared.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        let mut sender = self.sender();
        if sender.is_none() {
            *sender = start(self.shared.file.clone(), self.shared.format).ok();
        }
        match &*sender {
            Some(sender) => sender.try_send(message),
            None => Err(TrySendError::Disconnected(message)),
        }
    }
}

impl fmt::Debug for ErrorLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ErrorLog({:?}, site {:?})", self.shared.file, self.site)
    }
}

/// Starts the thread that writes; it ends when the log is dropped and all is written.
fn start(file: LogFile, format: ErrorFormat) -> std::io::Result<SyncSender<Message>> {
    let (sender, messages) = sync_channel(QUEUE_MAX);
    let mut writer = Writer::new(file, format)?;
    let run = move || writer.run(&messages);
    std::thread::Builder::new().name("ringway-errors".to_owned()).stack_size(64 * 1024).spawn(run)?;
    Ok(sender)
}

/// How many messages of each kind there were lately.
struct Kinds {
    started: Instant,
    kinds: HashMap<(&'static str, Option<Arc<str>>), Kind>,
    others: Kind,
}

#[derive(Default)]
struct Kind {
    bucket: Bucket,
    left_out: u64,
}

impl Kinds {
    fn new() -> Self {
        Self { started: Instant::now(), kinds: HashMap::new(), others: Kind::default() }
    }

    /// `None`: one of too many. Else how many like it were left out since the last that was not.
    fn admit(&mut self, subject: &'static str, site: Option<&Arc<str>>) -> Option<u64> {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let key = (subject, site.cloned());
        let kind = if self.kinds.len() < KINDS_MAX || self.kinds.contains_key(&key) {
            self.kinds.entry(key).or_default()
        } else {
            &mut self.others
        };
        match kind.bucket.take(&TokenRate::new(KIND_BURST, KIND_PERIOD_MS, KIND_BURST), now_ms) {
            Taken::Yes => Some(std::mem::take(&mut kind.left_out)),
            Taken::Wait { .. } => {
                kind.left_out += 1;
                None
            }
        }
    }
}

/// The message as text, not longer than it may be.
fn cut(message: fmt::Arguments<'_>) -> String {
    let mut text = message.to_string();
    if text.len() > MESSAGE_LEN_MAX {
        text.truncate(text.floor_char_boundary(MESSAGE_LEN_MAX));
        text.push_str("...");
    }
    text
}

struct Writer {
    log: LogFile,
    file: OwnedFd,
    generation: u64,
    format: ErrorFormat,
    line: Vec<u8>,
}

impl Writer {
    fn new(log: LogFile, format: ErrorFormat) -> std::io::Result<Self> {
        let (file, generation) = log.current()?;
        Ok(Self { log, file, generation, format, line: Vec::new() })
    }

    fn run(&mut self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                // Who asked may have stopped waiting.
                Message::Flush(done) => drop(done.try_send(())),
                Message::Line { level, site, subject, text, left_out, unix_ms } => {
                    self.line.clear();
                    let head = Head { level, site: site.as_deref(), subject, unix_ms };
                    head.write(self.format, &text, left_out, &mut self.line);
                    self.write();
                }
            }
        }
    }

    fn write(&mut self) {
        if self.log.generation() != self.generation
            && let Ok((file, generation)) = self.log.current()
        {
            (self.file, self.generation) = (file, generation);
        }
        let mut rest = &self.line[..];
        while !rest.is_empty() {
            match rustix::io::write(&self.file, rest) {
                Ok(0) => return self.log.count_dropped(1),
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => {} // A signal came; nothing was written.
                Err(rustix::io::Errno::AGAIN) => {
                    // Standard error may be a pipe that somebody else made non-blocking. This thread has time.
                    let mut one = [rustix::event::PollFd::new(&self.file, rustix::event::PollFlags::OUT)];
                    if rustix::event::poll(&mut one, None).is_err() {
                        return self.log.count_dropped(1);
                    }
                }
                Err(_) => return self.log.count_dropped(1),
            }
        }
        if self.log.note_written(self.line.len()) {
            // A failure is counted by the file; there is no better place to tell it.
            let _counted = self.log.rotate();
        }
    }
}

/// What stands before a message.
struct Head<'a> {
    level: Level,
    site: Option<&'a str>,
    subject: &'a str,
    unix_ms: u64,
}

impl Head<'_> {
    fn write(&self, format: ErrorFormat, text: &str, left_out: u64, out: &mut Vec<u8>) {
        let second = i64::try_from(self.unix_ms / 1000).unwrap_or(i64::MAX);
        let iso = Civil::from_unix(second).iso();
        let time = String::from_utf8_lossy(&iso[..iso.len() - 1]);
        let time = format!("{time}.{:03}Z", self.unix_ms % 1000);
        match format {
            ErrorFormat::Text => {
                out.extend_from_slice(format!("{time} {} ", self.level).as_bytes());
                if let Some(site) = self.site {
                    one_line(out, site);
                    out.extend_from_slice(b": ");
                }
                out.extend_from_slice(format!("{}: ", self.subject).as_bytes());
                one_line(out, text);
                if left_out > 0 {
                    out.extend_from_slice(format!(" ({left_out} more like this were left out)").as_bytes());
                }
            }
            ErrorFormat::Json => {
                out.extend_from_slice(
                    format!("{{\"time\":\"{time}\",\"level\":\"{}\",\"site\":", self.level).as_bytes(),
                );
                match self.site {
                    Some(site) => json_text(out, site),
                    None => out.extend_from_slice(b"null"),
                }
                out.extend_from_slice(b",\"subject\":");
                json_text(out, self.subject);
                out.extend_from_slice(b",\"message\":");
                json_text(out, text);
                out.extend_from_slice(format!(",\"left_out\":{left_out}}}").as_bytes());
            }
        }
        out.push(b'\n');
    }
}

fn json_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    escape::json(out, text.as_bytes());
    out.push(b'"');
}

/// Appends text with its control characters escaped: what peers send can neither end the line nor speak to a terminal.
fn one_line(out: &mut Vec<u8>, text: &str) {
    for character in text.chars() {
        if character.is_control() {
            out.extend(character.escape_unicode().map(|escaped| escaped as u8));
        } else {
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::files::Rotation;
    use crate::test_dir::TestDir;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn log(dir: &TestDir, format: ErrorFormat, level: Level) -> (ErrorLog, std::path::PathBuf) {
        let path = dir.path().join("error.log");
        (ErrorLog::new(LogFile::append(&path, Rotation::default()).unwrap(), format, level), path)
    }

    fn lines(log: &ErrorLog, path: &std::path::Path) -> Vec<String> {
        log.flush(PATIENCE);
        std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn messages_up_to_the_level_are_written_one_a_line() {
        let dir = TestDir::new();
        let (log, path) = log(&dir, ErrorFormat::Text, Level::Warn);
        log.flush(PATIENCE);
        log.of_site("example.org").error("auth", format_args!("evil\nline \x1b[2J \u{9b}é"));
        log.notice("reload", format_args!("not wanted"));
        log.set_level(Level::Notice);
        log.notice("reload", format_args!("{}", "x".repeat(5000)));
        let lines = lines(&log, &path);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(
            lines[0].ends_with("Z error example.org: auth: evil\\u{a}line \\u{1b}[2J \\u{9b}é"),
            "{}",
            lines[0]
        );
        assert!(lines[1].ends_with("xxx...") && lines[1].len() < MESSAGE_LEN_MAX + 100);
        assert_eq!(log.dropped(), 0);
    }

    #[test]
    fn json_is_what_it_says() {
        let mut out = Vec::new();
        let head = Head { level: Level::Warn, site: None, subject: "users", unix_ms: 1_763_730_855_042 };
        head.write(ErrorFormat::Json, "a \"b\"\n", 3, &mut out);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"time\":\"2025-11-21T13:14:15.042Z\",\"level\":\"warn\",\"site\":null,\"subject\":\"users\",\
             \"message\":\"a \\\"b\\\"\\n\",\"left_out\":3}\n"
        );
    }

    #[test]
    fn of_many_alike_some_are_written_and_others_are_heard() {
        let dir = TestDir::new();
        let (log, path) = log(&dir, ErrorFormat::Text, Level::Debug);
        for number in 0..1000 {
            log.warn("flood", format_args!("{number}"));
        }
        log.of_site("other").warn("flood", format_args!("heard"));
        log.warn("calm", format_args!("heard"));
        let lines = lines(&log, &path);
        assert_eq!(lines.iter().filter(|line| line.contains("warn flood: ")).count(), KIND_BURST as usize);
        assert_eq!(lines.iter().filter(|line| line.ends_with("heard")).count(), 2, "{lines:?}");
        let mut kinds = log.kinds();
        assert_eq!(kinds.kinds[&("flood", None)].left_out, 1000 - u64::from(KIND_BURST));
        kinds.started -= Duration::from_mins(2);
        drop(kinds);
        log.warn("flood", format_args!("again"));
        let left_out = format!("again ({} more like this were left out)", 1000 - KIND_BURST);
        log.flush(PATIENCE);
        assert!(std::fs::read_to_string(&path).unwrap().trim_end().ends_with(&left_out));
    }

    #[test]
    fn kinds_are_bounded() {
        let mut kinds = Kinds::new();
        for number in 0..10_000 {
            let site: Arc<str> = number.to_string().into();
            let _admitted = kinds.admit("x", Some(&site));
        }
        assert_eq!(kinds.kinds.len(), KINDS_MAX);
        assert!(kinds.others.left_out > 9000);
    }

    #[test]
    fn a_file_that_is_renamed_gets_no_more_lines() {
        let dir = TestDir::new();
        let path = dir.path().join("error.log");
        let file = LogFile::append(&path, Rotation { bytes_max: 100, kept: 3 }).unwrap();
        let log = ErrorLog::new(file.clone(), ErrorFormat::Text, Level::Info);
        log.error("a", format_args!("{}", "1".repeat(100)));
        log.error("b", format_args!("second"));
        let written = lines(&log, &path);
        assert!(written.len() == 1 && written[0].ends_with("second"), "{written:?}");
        std::fs::rename(&path, dir.path().join("moved")).unwrap();
        file.reopen().unwrap();
        log.error("c", format_args!("third"));
        let written = lines(&log, &path);
        assert!(written.len() == 1 && written[0].ends_with("third"), "{written:?}");
    }

    #[test]
    fn levels_are_read_by_their_names() {
        for level in Level::ALL {
            assert_eq!(level.to_string().parse(), Ok(level));
        }
        assert!("loud".parse::<Level>().unwrap_err().contains("notice"));
        assert!(Level::Error < Level::Debug);
    }
}
