//! What a server says to whoever starts its scripts, and what it hears back, as bytes.
//!
//! An [`Order`] is one datagram; the ends of the script's standard input and output, and of a stream of its own, travel with
//! it. On that stream come [`Notice`]s. The end of the stream means that nobody wants the script any more, unless
//! [`RELEASE`] came first. Who starts scripts has more rights than who asks for them, so whatever is read here is bounded
//! and has one reading.

/// Longest order, in bytes: the kernel carries so much in one datagram by its own defaults.
pub const ORDER_BYTES_MAX: usize = 128 * 1024;

/// Most variables of an order.
pub const VARIABLES_MAX: usize = 512;

/// Longest text of a notice, in bytes.
pub const NOTICE_BYTES_MAX: usize = 4096;

/// What the server says on a script's stream when its answer is complete: the script may go on to its own end.
pub const RELEASE: u8 = b'R';

/// The first byte of every order; another one is another language.
const VERSION: u8 = 1;

/// Bytes before a notice's text: kind, a number, length.
const NOTICE_HEAD_BYTES: usize = 5;

/// What shall be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'b> {
    /// Under which rules, by their place in the list that both sides have.
    pub rules: u16,
    /// Whether standard input comes with it; else there is none.
    pub has_input: bool,
    /// Where the rules' directory is among the paths of the site, without a slash at its end: what stands before the
    /// script's path in `SCRIPT_NAME`.
    pub mount: &'b [u8],
    /// The path below that, decoded, beginning with a slash: the script's, and `PATH_INFO` behind it.
    pub path: &'b [u8],
    /// The variables: see [`Order::variables`].
    variables: &'b [u8],
}

/// Why something is no order, or cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderFault {
    /// It is longer than [`ORDER_BYTES_MAX`], or has more than [`VARIABLES_MAX`] variables.
    TooLarge,
    /// It is of another version, ends within a part, or goes on behind its end.
    Form,
    /// A variable that is none of CGI's, so that nobody tells a program what to load, or one with a NUL.
    Variable,
    /// A path that is none: it does not begin with a slash, or has a NUL, an empty segment, `.` or `..`.
    Path,
}

/// Puts an order together, in memory of the caller.
#[derive(Debug)]
pub struct OrderWriter<'m> {
    memory: &'m mut Vec<u8>,
    variables: usize,
}

impl<'m> OrderWriter<'m> {
    /// Begins an order; what `memory` held is forgotten.
    pub fn new(memory: &'m mut Vec<u8>, rules: u16, has_input: bool, mount: &[u8], path: &[u8]) -> Self {
        memory.clear();
        memory.push(VERSION);
        memory.push(u8::from(has_input));
        memory.extend_from_slice(&rules.to_le_bytes());
        push(memory, mount);
        push(memory, path);
        Self { memory, variables: 0 }
    }

    /// Adds a variable.
    pub fn variable(&mut self, name: &[u8], value: &[u8]) {
        push(self.memory, name);
        push(self.memory, value);
        self.variables += 1;
    }

    /// The whole order.
    ///
    /// # Errors
    /// [`OrderFault::TooLarge`].
    pub fn finish(self) -> Result<&'m [u8], OrderFault> {
        let is_bounded = self.memory.len() <= ORDER_BYTES_MAX && self.variables <= VARIABLES_MAX;
        if is_bounded { Ok(self.memory) } else { Err(OrderFault::TooLarge) }
    }
}

fn push(memory: &mut Vec<u8>, bytes: &[u8]) {
    // What is longer is refused as a whole at the end.
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    memory.extend_from_slice(&length.to_le_bytes());
    memory.extend_from_slice(bytes);
}

impl<'b> Order<'b> {
    /// Reads an order.
    ///
    /// # Errors
    /// [`OrderFault`]: whoever sent it is no server of this program.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, OrderFault> {
        if bytes.len() > ORDER_BYTES_MAX {
            return Err(OrderFault::TooLarge);
        }
        let (head, rest) = bytes.split_first_chunk::<4>().ok_or(OrderFault::Form)?;
        let has_input = match *head {
            [VERSION, 0, ..] => false,
            [VERSION, 1, ..] => true,
            _ => return Err(OrderFault::Form),
        };
        let (mount, rest) = part(rest)?;
        let (path, variables) = part(rest)?;
        if !is_path(path) || !mount.is_empty() && !is_path(mount) {
            return Err(OrderFault::Path);
        }
        let order = Self { rules: u16::from_le_bytes([head[2], head[3]]), has_input, mount, path, variables };
        let (mut rest, mut count) = (variables, 0);
        while !rest.is_empty() {
            let (name, behind) = part(rest)?;
            let (value, behind) = part(behind)?;
            if !is_variable(name) || value.contains(&0) {
                return Err(OrderFault::Variable);
            }
            rest = behind;
            count += 1;
            if count > VARIABLES_MAX {
                return Err(OrderFault::TooLarge);
            }
        }
        Ok(order)
    }

    /// The variables, name and value, in the order they were added.
    pub fn variables(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> {
        let mut rest = self.variables;
        std::iter::from_fn(move || {
            // They were checked.
            let (name, behind) = part(rest).ok()?;
            let (value, behind) = part(behind).ok()?;
            rest = behind;
            Some((name, value))
        })
    }
}

/// The part at the front, and what is behind it.
fn part(bytes: &[u8]) -> Result<(&[u8], &[u8]), OrderFault> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or(OrderFault::Form)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    rest.split_at_checked(length).ok_or(OrderFault::Form)
}

/// Whether it is a path as requests have them once they are normalised. The last segment may be empty.
fn is_path(path: &[u8]) -> bool {
    let Some(segments) = path.strip_prefix(b"/") else { return false };
    let last = segments.split(|byte| *byte == b'/').count() - 1;
    let is_segment = |(place, segment): (usize, &[u8])| match segment {
        b"" => place == last,
        b"." | b".." => false,
        segment => !segment.contains(&0),
    };
    segments.split(|byte| *byte == b'/').enumerate().all(is_segment)
}

/// Variables besides `HTTP_*`: those of [`super::Facts::environment`].
const VARIABLES: [&[u8]; 23] = [
    b"AUTH_TYPE",
    b"CONTENT_LENGTH",
    b"CONTENT_TYPE",
    b"DOCUMENT_ROOT",
    b"GATEWAY_INTERFACE",
    b"HTTPS",
    b"PATH_INFO",
    b"PATH_TRANSLATED",
    b"QUERY_STRING",
    b"REDIRECT_STATUS",
    b"REMOTE_ADDR",
    b"REMOTE_PORT",
    b"REMOTE_USER",
    b"REQUEST_METHOD",
    b"REQUEST_SCHEME",
    b"REQUEST_URI",
    b"SCRIPT_FILENAME",
    b"SCRIPT_NAME",
    b"SERVER_ADDR",
    b"SERVER_NAME",
    b"SERVER_PORT",
    b"SERVER_PROTOCOL",
    b"SERVER_SOFTWARE",
];

fn is_variable(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    match name.strip_prefix(b"HTTP_") {
        Some(rest) => !rest.is_empty() && rest != b"PROXY" && rest.iter().all(is_letter),
        None => VARIABLES.contains(&name),
    }
}

/// What is told of a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notice<'b> {
    /// It runs.
    Started,
    /// It was not started.
    Refused(Refused, &'b str),
    /// What it wrote to its standard error, a part of it.
    Said(&'b [u8]),
    /// It has ended by itself, with this code.
    Ended(u8),
    /// It was ended by this signal.
    Killed(u8),
    /// It runs for longer than it may, and is being ended.
    Overdue,
}

/// Why a script was not started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no such script.
    Missing,
    /// What lies there is no script under these rules.
    NoScript,
    /// A directory with an index was asked for without its slash.
    Directory,
    /// It may not be executed, or lies outside of the rules' directory.
    Forbidden,
    /// So many run that it would have had to wait for too long.
    Busy,
    /// It cannot be executed, for a reason that the text says.
    Failed,
}

impl Refused {
    const ALL: [Self; 6] =
        [Self::Missing, Self::NoScript, Self::Directory, Self::Forbidden, Self::Busy, Self::Failed];
}

impl<'b> Notice<'b> {
    /// Writes it to the front of `memory`; how many bytes. Of a text as much as fits [`NOTICE_BYTES_MAX`].
    pub fn write(&self, memory: &mut [u8; NOTICE_HEAD_BYTES + NOTICE_BYTES_MAX]) -> usize {
        let (kind, number, text): (u8, u8, &[u8]) = match *self {
            Self::Started => (1, 0, b""),
            Self::Refused(why, text) => {
                let place = Refused::ALL.iter().position(|other| *other == why);
                (2, place.and_then(|place| u8::try_from(place).ok()).unwrap_or_default(), text.as_bytes())
            }
            Self::Said(text) => (3, 0, text),
            Self::Ended(code) => (4, code, b""),
            Self::Killed(signal) => (5, signal, b""),
            Self::Overdue => (6, 0, b""),
        };
        let mut end = text.len().min(NOTICE_BYTES_MAX);
        // Words are not cut within a letter.
        while kind == 2 && end < text.len() && !is_letter_start(text[end]) {
            end -= 1;
        }
        let length = u16::try_from(end).unwrap_or_default();
        memory[0] = kind;
        memory[1] = number;
        memory[2] = 0;
        memory[3..NOTICE_HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
        memory[NOTICE_HEAD_BYTES..NOTICE_HEAD_BYTES + end].copy_from_slice(&text[..end]);
        NOTICE_HEAD_BYTES + end
    }

    /// Reads the notice at the front of `bytes` and how long it is; `None` while it is incomplete.
    ///
    /// # Errors
    /// [`OrderFault::Form`]: this is no notice.
    pub fn read(bytes: &'b [u8]) -> Result<Option<(Self, usize)>, OrderFault> {
        let Some((head, rest)) = bytes.split_first_chunk::<NOTICE_HEAD_BYTES>() else { return Ok(None) };
        let length = usize::from(u16::from_le_bytes([head[3], head[4]]));
        if length > NOTICE_BYTES_MAX || head[2] != 0 {
            return Err(OrderFault::Form);
        }
        let Some(text) = rest.get(..length) else { return Ok(None) };
        let notice = match (head[0], head[1]) {
            (1, 0) if text.is_empty() => Self::Started,
            (2, place) => {
                let why = *Refused::ALL.get(usize::from(place)).ok_or(OrderFault::Form)?;
                Self::Refused(why, str::from_utf8(text).map_err(|_no_text| OrderFault::Form)?)
            }
            (3, 0) => Self::Said(text),
            (4, code) if text.is_empty() => Self::Ended(code),
            (5, signal) if text.is_empty() => Self::Killed(signal),
            (6, 0) if text.is_empty() => Self::Overdue,
            _ => return Err(OrderFault::Form),
        };
        Ok(Some((notice, NOTICE_HEAD_BYTES + length)))
    }
}

/// Memory that every notice fits.
pub const fn notice_memory() -> [u8; NOTICE_HEAD_BYTES + NOTICE_BYTES_MAX] {
    [0; NOTICE_HEAD_BYTES + NOTICE_BYTES_MAX]
}

const fn is_letter_start(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order(path: &[u8], variables: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut memory = b"left over".to_vec();
        let mut writer = OrderWriter::new(&mut memory, 258, true, b"/cgi", path);
        variables.iter().for_each(|(name, value)| writer.variable(name, value));
        writer.finish().expect("small").to_vec()
    }

    #[test]
    fn orders_arrive_as_they_were_given() {
        let variables: [(&[u8], &[u8]); 2] = [(b"HTTP_A", b"1"), (b"QUERY_STRING", b"")];
        let bytes = order(b"/a.cgi/info", &variables);
        let read = Order::parse(&bytes).expect("an order");
        assert_eq!(
            (read.rules, read.has_input, read.mount, read.path),
            (258, true, &b"/cgi"[..], &b"/a.cgi/info"[..])
        );
        assert_eq!(read.variables().collect::<Vec<_>>(), variables);
        for cut in 0..bytes.len() {
            // Without its last variables it would be another order, but none is cut within one.
            let shorter = Order::parse(&bytes[..cut]);
            assert!(shorter.is_err() || shorter.is_ok_and(|order| order.variables().count() < 2), "{cut}");
        }
    }

    #[test]
    fn what_no_program_can_be_told_is_refused() {
        assert_eq!(Order::parse(b""), Err(OrderFault::Form));
        assert_eq!(Order::parse(&[2; 20]), Err(OrderFault::Form));
        for name in
            ["", "HTTP_", "HTTP_A=B", "HTTP_A\0", "HTTP_a", "HTTP_PROXY", "PATH", "LD_PRELOAD", "https"]
        {
            let order = order(b"/a", &[(name.as_bytes(), b"x")]);
            assert_eq!(Order::parse(&order), Err(OrderFault::Variable), "{name:?}");
        }
        assert_eq!(Order::parse(&order(b"/a", &[(b"HTTP_A", b"x\0y")])), Err(OrderFault::Variable));
        for path in [&b""[..], b"a", b"/../a", b"/a/..", b"/./a", b"//a", b"/a//b", b"/a\0"] {
            assert_eq!(Order::parse(&order(path, &[])), Err(OrderFault::Path), "{}", path.escape_ascii());
        }
        assert!(Order::parse(&order(b"/", &[])).is_ok() && Order::parse(&order(b"/a/", &[])).is_ok());
        let mut behind = order(b"/a", &[]);
        behind.push(0);
        assert_eq!(Order::parse(&behind), Err(OrderFault::Form));
    }

    #[test]
    fn orders_are_bounded() {
        let mut memory = Vec::new();
        let mut writer = OrderWriter::new(&mut memory, 0, false, b"", b"/a");
        writer.variable(b"HTTP_A", &[b'x'; ORDER_BYTES_MAX]);
        assert_eq!(writer.finish(), Err(OrderFault::TooLarge));
        assert_eq!(Order::parse(&memory), Err(OrderFault::TooLarge));
        let mut writer = OrderWriter::new(&mut memory, 0, false, b"", b"/a");
        (0..=VARIABLES_MAX).for_each(|_| writer.variable(b"HTTP_A", b""));
        assert_eq!(writer.finish(), Err(OrderFault::TooLarge));
        assert_eq!(Order::parse(&memory), Err(OrderFault::TooLarge));
    }

    #[test]
    fn notices_arrive_as_they_were_given_however_they_are_split() {
        let long = "\u{e4}".repeat(NOTICE_BYTES_MAX);
        let notices = [
            Notice::Started,
            Notice::Refused(Refused::Busy, "too much"),
            Notice::Said(b"\xff\n"),
            Notice::Ended(3),
            Notice::Killed(9),
            Notice::Overdue,
            Notice::Refused(Refused::Failed, &long),
        ];
        for notice in notices {
            let mut memory = notice_memory();
            let count = notice.write(&mut memory);
            for cut in 0..count {
                assert_eq!(Notice::read(&memory[..cut]), Ok(None), "{notice:?} at {cut}");
            }
            let (read, length) = Notice::read(&memory).expect("a notice").expect("a whole one");
            assert_eq!(length, count);
            match read {
                Notice::Refused(why, text) if text.len() > 100 => {
                    assert!(
                        why == Refused::Failed && long.starts_with(text) && text.len() == NOTICE_BYTES_MAX
                    );
                }
                read => assert_eq!(read, notice),
            }
        }
        for bad in [[7, 0, 0, 0, 0], [1, 1, 0, 0, 0], [2, 9, 0, 0, 0], [4, 0, 1, 0, 0], [3, 0, 0, 0xff, 0xff]]
        {
            assert_eq!(Notice::read(&bad), Err(OrderFault::Form));
        }
    }

    proptest! {
        #[test]
        fn anything_is_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(order) = Order::parse(&bytes) {
                prop_assert!(order.variables().count() <= VARIABLES_MAX);
            }
            let _whatever_it_is = Notice::read(&bytes);
        }
    }
}
