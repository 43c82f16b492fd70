//! Directory listings: what lies in a directory, as a page for people or as JSON for programs.
//!
//! Names come from whoever may write to the directory, so everything is escaped; the page runs no script and loads nothing.
//! Dot names are not shown (they are not served either), `.well-known` is. A link that leads out of the root, or nowhere,
//! is shown as a link and leads nowhere. Runs on the thread pool: it reads the directory and asks for every name in it.

use std::cmp::{Ordering, Reverse};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir, FileType, statat};

use crate::accept;
use crate::civil::Civil;
use crate::escape;
use crate::open_error::OpenError;
use crate::path::relative;
use crate::root::{Kind, RootDir, Way, state_of};

/// How many entries a listing has at most unless said otherwise.
pub const ENTRIES_MAX: usize = 4096;

/// How many names are read, hidden ones included, for each entry that may be listed.
const READ_PER_ENTRY: usize = 4;

/// How a listing is written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// A page.
    #[default]
    Html,
    /// An array of objects with `name`, `type` (`file`, `directory`, `link`, `other`), `size` in bytes (of files) and
    /// `mtime`.
    Json,
}

/// What a listing is sorted by; directories come first in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Sort {
    /// The name, upper and lower case alike.
    #[default]
    Name,
    /// The length of files.
    Size,
    /// The last change.
    Time,
}

/// Which end comes first.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Order {
    /// The smallest, oldest.
    #[default]
    Ascending,
    /// The largest, newest.
    Descending,
}

/// How pages look.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Theme {
    /// A table on a card, light or dark as the reader's system is.
    #[default]
    Default,
    /// The same with small type and little room around it: for many names.
    Compact,
    /// No style at all: as the browser has it.
    Plain,
}

impl Theme {
    const fn style(self) -> &'static [&'static str] {
        match self {
            Self::Default => &[STYLE],
            Self::Compact => &[STYLE, COMPACT_STYLE],
            Self::Plain => &[],
        }
    }
}

/// What the client asked for.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Wanted {
    /// How it is written.
    pub format: Format,
    /// What it is sorted by.
    pub sort: Sort,
    /// Which end first.
    pub order: Order,
}

impl Wanted {
    /// Reads `?format=json|html&sort=name|size|time&order=asc|desc`; what it does not know it ignores. Without `format`
    /// the values of `Accept` decide: JSON when that is named and HTML is not.
    pub fn of<'a>(query: Option<&[u8]>, accept: impl IntoIterator<Item = &'a [u8]> + Clone) -> Self {
        let mut wanted = Self::default();
        let html = accept::names(accept.clone(), "text/html");
        if !html && accept::names(accept, "application/json") {
            wanted.format = Format::Json;
        }
        for setting in query.unwrap_or_default().split(|&byte| byte == b'&') {
            match setting {
                b"format=json" => wanted.format = Format::Json,
                b"format=html" => wanted.format = Format::Html,
                b"sort=name" => wanted.sort = Sort::Name,
                b"sort=size" => wanted.sort = Sort::Size,
                b"sort=time" => wanted.sort = Sort::Time,
                b"order=asc" => wanted.order = Order::Ascending,
                b"order=desc" => wanted.order = Order::Descending,
                _ => {}
            }
        }
        wanted
    }
}

/// A listing, written.
#[derive(Debug)]
pub struct Listing {
    /// Value of `Content-Type`.
    pub content_type: &'static str,
    /// The whole body.
    pub body: Vec<u8>,
    /// Whether there is more in the directory than is listed.
    pub is_cut: bool,
}

/// How a directory is shown.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The normal path that clients ask for the directory by.
    pub path: &'a [u8],
    /// What the client asked for.
    pub wanted: Wanted,
    /// How pages look.
    pub theme: Theme,
    /// Most entries.
    pub entries_max: usize,
}

/// Lists the directory at the normal path `directory` below the root. Waits for the disk.
///
/// # Errors
/// [`OpenError`]; `NotFound` when it is no directory.
pub fn list(root: &RootDir, directory: &[u8], view: View<'_>) -> Result<Listing, OpenError> {
    let wanted = view.wanted;
    let (mut entries, is_cut) = read(root, relative(directory), view.entries_max)?;
    entries.sort_by(|a, b| compare(a, b, wanted));
    let mut body = Vec::with_capacity(4096 + entries.len() * 160);
    let content_type = match wanted.format {
        Format::Html => {
            write_html(&mut body, &entries, is_cut, view);
            "text/html; charset=utf-8"
        }
        Format::Json => {
            write_json(&mut body, &entries);
            "application/json"
        }
    };
    Ok(Listing { content_type, body, is_cut })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum EntryKind {
    Directory,
    File,
    Link,
    Other,
}

#[derive(Debug)]
struct Entry {
    name: Box<[u8]>,
    kind: EntryKind,
    len: u64,
    modified_s: i64,
}

/// The entries in the order of the disk, and whether there are more.
fn read(root: &RootDir, rel: &[u8], entries_max: usize) -> Result<(Vec<Entry>, bool), OpenError> {
    let opened = root.open(rel, Way::Blocking)?;
    if opened.found.kind != Kind::Directory {
        return Err(OpenError::NotFound);
    }
    // BADF: the directory may be searched but not read.
    let mut names = Dir::read_from(&opened.fd).map_err(|errno| match errno {
        rustix::io::Errno::BADF => OpenError::Forbidden,
        other => other.into(),
    })?;
    let mut entries = Vec::new();
    for _ in 0..entries_max.saturating_mul(READ_PER_ENTRY) {
        let Some(next) = names.read() else { return Ok((entries, false)) };
        let next = next?;
        let name = next.file_name().to_bytes();
        if name.first() == Some(&b'.') && name != b".well-known" {
            continue;
        }
        if entries.len() >= entries_max {
            return Ok((entries, true));
        }
        entries.extend(look_at(root, rel, opened.fd.as_fd(), name));
    }
    Ok((entries, true))
}

/// What a name stands for; `None` when it vanished meanwhile.
fn look_at(root: &RootDir, rel: &[u8], directory: BorrowedFd<'_>, name: &[u8]) -> Option<Entry> {
    let stat = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
    let state = state_of(&stat);
    let entry = |kind, len, modified_s| Some(Entry { name: name.into(), kind, len, modified_s });
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => entry(EntryKind::File, state.len, state.modified.seconds),
        FileType::Directory => entry(EntryKind::Directory, 0, state.modified.seconds),
        FileType::Symlink => {
            let below = if rel.is_empty() { name.to_vec() } else { [rel, b"/", name].concat() };
            match root.find(&below, Way::Blocking) {
                Ok(found) if found.kind == Kind::Directory => {
                    entry(EntryKind::Directory, 0, found.state.modified.seconds)
                }
                Ok(found) => entry(EntryKind::File, found.state.len, found.state.modified.seconds),
                Err(_) => entry(EntryKind::Link, 0, state.modified.seconds),
            }
        }
        _ => entry(EntryKind::Other, 0, state.modified.seconds),
    }
}

fn compare(a: &Entry, b: &Entry, wanted: Wanted) -> Ordering {
    let by_name = || {
        let lower = |entry: &Entry| entry.name.to_ascii_lowercase();
        lower(a).cmp(&lower(b)).then_with(|| a.name.cmp(&b.name))
    };
    let by_key = match wanted.sort {
        Sort::Name => by_name(),
        Sort::Size => a.len.cmp(&b.len),
        Sort::Time => a.modified_s.cmp(&b.modified_s),
    };
    let directed = match wanted.order {
        Order::Ascending => by_key,
        Order::Descending => by_key.reverse(),
    };
    let directory = |entry: &Entry| Reverse(entry.kind == EntryKind::Directory);
    directory(a).cmp(&directory(b)).then(directed).then_with(by_name)
}

fn write_json(out: &mut Vec<u8>, entries: &[Entry]) {
    out.push(b'[');
    for (place, entry) in entries.iter().enumerate() {
        out.extend_from_slice(if place == 0 { b"\n{\"name\":\"" } else { b",\n{\"name\":\"" });
        escape::json(out, &entry.name);
        out.extend_from_slice(b"\",\"type\":\"");
        out.extend_from_slice(match entry.kind {
            EntryKind::Directory => b"directory",
            EntryKind::File => b"file",
            EntryKind::Link => b"link",
            EntryKind::Other => b"other",
        });
        out.extend_from_slice(b"\",\"size\":");
        match entry.kind {
            EntryKind::File => escape::decimal(out, entry.len),
            EntryKind::Directory | EntryKind::Link | EntryKind::Other => out.extend_from_slice(b"null"),
        }
        out.extend_from_slice(b",\"mtime\":\"");
        out.extend_from_slice(&Civil::from_unix(entry.modified_s).iso());
        out.extend_from_slice(b"\"}");
    }
    out.extend_from_slice(b"\n]\n");
}

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1d2733;--soft:#5b6875;--page:#f7f8fa;--card:#fff;--edge:#dde3ea;--link:#0b7285}\
@media(prefers-color-scheme:dark){:root{--ink:#e6ebf0;--soft:#98a5b3;--page:#12171d;--card:#191f27;--edge:#2b343f;\
--link:#3bc9db}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:60rem;padding:1.5rem 1rem 3rem;background:var(--page);color:var(--ink);\
font:1rem/1.5 system-ui,sans-serif}\
h1{font-size:1.25rem;font-weight:600;overflow-wrap:anywhere;margin:0 0 1rem}\
h1 span{color:var(--soft);font-weight:400;padding:0 .25em}\
a{color:var(--link);text-decoration:none}a:hover{text-decoration:underline}\
a:focus-visible{outline:2px solid var(--link);outline-offset:2px}\
table{width:100%;border-collapse:collapse;background:var(--card);border:1px solid var(--edge);border-radius:.5rem}\
th,td{padding:.5rem .75rem;text-align:left;border-bottom:1px solid var(--edge);font-weight:400;\
vertical-align:baseline}\
thead th{font-size:.875rem;color:var(--soft)}thead a{color:inherit}\
tbody th{overflow-wrap:anywhere}tbody tr:last-child>*{border-bottom:0}tbody tr:hover{background:var(--page)}\
.d{font-weight:600}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}\
.t{white-space:nowrap;color:var(--soft);font-variant-numeric:tabular-nums}\
footer{color:var(--soft);font-size:.875rem;margin-top:.75rem}\
@media(max-width:34rem){.t{display:none}th,td{padding:.6rem .6rem}}";

/// What makes a page compact.
const COMPACT_STYLE: &str = "\
body{max-width:none;padding:.5rem;font-size:.875rem;line-height:1.3}h1{font-size:1rem;margin:0 0 .4rem}\
table{border-radius:0}th,td{padding:.1rem .5rem;border-bottom:0}thead th{font-size:.8rem}\
footer{font-size:.8rem;margin-top:.3rem}\
@media(max-width:34rem){th,td{padding:.35rem .4rem}}";

fn write_html(out: &mut Vec<u8>, entries: &[Entry], is_cut: bool, view: View<'_>) {
    let View { path, wanted, theme, .. } = view;
    out.extend_from_slice(
        b"<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
          <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>",
    );
    escape::html(out, path);
    out.extend_from_slice(b"</title>\n");
    if !theme.style().is_empty() {
        out.extend_from_slice(b"<style>");
        theme.style().iter().for_each(|style| out.extend_from_slice(style.as_bytes()));
        out.extend_from_slice(b"</style>\n");
    }
    out.extend_from_slice(b"</head>\n<body>\n");
    write_breadcrumb(out, path);
    out.extend_from_slice(b"<main>\n<table>\n<thead><tr>");
    write_column(out, "Name", "name", "", wanted, Sort::Name);
    write_column(out, "Size", "size", "n", wanted, Sort::Size);
    write_column(out, "Modified (UTC)", "time", "t", wanted, Sort::Time);
    out.extend_from_slice(b"</tr></thead>\n<tbody>\n");
    if path != b"/" {
        out.extend_from_slice(
            b"<tr><th scope=\"row\" class=\"d\"><a href=\"../\">../</a></th><td class=\"n\"></td>\
              <td class=\"t\"></td></tr>\n",
        );
    }
    for entry in entries {
        write_row(out, entry);
    }
    out.extend_from_slice(b"</tbody>\n</table>\n</main>\n<footer>");
    escape::decimal(out, entries.len() as u64);
    out.extend_from_slice(if entries.len() == 1 { b" entry" } else { b" entries" });
    if is_cut {
        out.extend_from_slice(b" shown, and more that are not");
    }
    out.extend_from_slice(b"</footer>\n</body>\n</html>\n");
}

/// The way from the root, each step a link but the last.
fn write_breadcrumb(out: &mut Vec<u8>, path: &[u8]) {
    out.extend_from_slice(b"<nav aria-label=\"Path\"><h1>");
    let name = relative(path);
    if name.is_empty() {
        out.extend_from_slice(b"/</h1></nav>\n");
        return;
    }
    out.extend_from_slice(b"<a href=\"/\" aria-label=\"Top\">/</a>");
    let mut end = 0;
    for segment in name.split(|&byte| byte == b'/') {
        end += segment.len() + 1;
        let is_last = end > name.len();
        if is_last {
            out.extend_from_slice(b"<span aria-hidden=\"true\">&rsaquo;</span>");
            escape::html(out, segment);
        } else {
            out.extend_from_slice(b"<span aria-hidden=\"true\">&rsaquo;</span><a href=\"/");
            escape::url_path(out, &name[..end]);
            out.extend_from_slice(b"\">");
            escape::html(out, segment);
            out.extend_from_slice(b"</a>");
        }
    }
    out.extend_from_slice(b"</h1></nav>\n");
}

/// A column's head: a link that sorts by it, or the other way round when it is sorted by it.
fn write_column(out: &mut Vec<u8>, title: &str, key: &str, class: &str, wanted: Wanted, sort: Sort) {
    let is_current = wanted.sort == sort;
    let (state, mark, next) = match (is_current, wanted.order) {
        (true, Order::Ascending) => (" aria-sort=\"ascending\"", " \u{2191}", "desc"),
        (true, Order::Descending) => (" aria-sort=\"descending\"", " \u{2193}", "asc"),
        (false, _) => ("", "", "asc"),
    };
    let parts = [
        "<th scope=\"col\" class=\"",
        class,
        "\"",
        state,
        "><a href=\"?sort=",
        key,
        "&amp;order=",
        next,
        "\">",
        title,
        "</a><span aria-hidden=\"true\">",
        mark,
        "</span></th>",
    ];
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_row(out: &mut Vec<u8>, entry: &Entry) {
    let is_directory = entry.kind == EntryKind::Directory;
    let leads_somewhere = is_directory || entry.kind == EntryKind::File;
    let class: &[u8] = if is_directory { b" class=\"d\"" } else { b"" };
    let slash: &[u8] = if is_directory { b"/" } else { b"" };
    out.extend_from_slice(b"<tr><th scope=\"row\"");
    out.extend_from_slice(class);
    out.push(b'>');
    if leads_somewhere {
        out.extend_from_slice(b"<a href=\"");
        escape::url_path(out, &entry.name);
        out.extend_from_slice(slash);
        out.extend_from_slice(b"\">");
    }
    escape::html(out, &entry.name);
    out.extend_from_slice(slash);
    if leads_somewhere {
        out.extend_from_slice(b"</a>");
    }
    out.extend_from_slice(b"</th>");
    match entry.kind {
        EntryKind::File => {
            out.extend_from_slice(b"<td class=\"n\" title=\"");
            escape::decimal(out, entry.len);
            out.extend_from_slice(b" bytes\">");
            write_size(out, entry.len);
        }
        EntryKind::Directory => out.extend_from_slice(b"<td class=\"n\">"),
        EntryKind::Link => out.extend_from_slice(b"<td class=\"n\">link"),
        EntryKind::Other => out.extend_from_slice(b"<td class=\"n\">special"),
    }
    let iso = Civil::from_unix(entry.modified_s).iso();
    out.extend_from_slice(b"</td><td class=\"t\"><time datetime=\"");
    out.extend_from_slice(&iso);
    out.extend_from_slice(b"\">");
    out.extend_from_slice(&iso[..10]);
    out.push(b' ');
    out.extend_from_slice(&iso[11..16]);
    out.extend_from_slice(b"</time></td></tr>\n");
}

/// A size as people read it: `17 B`, `1.5 KiB`, `230 MiB`.
fn write_size(out: &mut Vec<u8>, len: u64) {
    const UNITS: [&str; 7] = [" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"];
    let unit = (len.max(1).ilog2() / 10) as usize;
    let shift = unit * 10;
    let whole = len >> shift;
    escape::decimal(out, whole);
    if unit > 0 && whole < 10 {
        let rest = u128::from(len) & ((1 << shift) - 1);
        out.push(b'.');
        escape::decimal(out, u64::try_from((rest * 10) >> shift).unwrap_or(0));
    }
    out.extend_from_slice(UNITS[unit].as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::{Root, RootOptions};
    use crate::test_dir::TestDir;

    fn listed(dir: &TestDir, path: &str, wanted: Wanted) -> String {
        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        let listing = list(root.dir(), path.as_bytes(), view(path.as_bytes(), wanted, ENTRIES_MAX)).unwrap();
        String::from_utf8(listing.body).unwrap()
    }

    fn view(path: &[u8], wanted: Wanted, entries_max: usize) -> View<'_> {
        View { path, wanted, theme: Theme::Default, entries_max }
    }

    fn names(json: &str) -> Vec<&str> {
        json.lines().filter_map(|line| line.split('"').nth(3)).collect()
    }

    fn wanted(query: &str) -> Wanted {
        Wanted::of(Some(query.as_bytes()), [])
    }

    #[test]
    fn queries_and_accept_decide() {
        let json = b"application/json".as_slice();
        let browser = b"text/html,application/json".as_slice();
        assert_eq!(Wanted::of(None, []), Wanted::default());
        assert_eq!(Wanted::of(None, [json]).format, Format::Json);
        assert_eq!(Wanted::of(None, [browser]).format, Format::Html);
        assert_eq!(Wanted::of(Some(b"format=html"), [json]).format, Format::Html);
        let all = wanted("x&sort=size&&order=desc&format=json&sort=nonsense");
        assert_eq!(all, Wanted { format: Format::Json, sort: Sort::Size, order: Order::Descending });
    }

    #[test]
    fn entries_are_sorted_and_dot_names_hidden() {
        let dir = TestDir::new();
        for (name, len, time) in [("b.txt", 3, 30), ("A.txt", 2, 10), ("c.txt", 1, 20), (".env", 1, 1)] {
            dir.write(name, vec![b'x'; len]);
            dir.set_mtime(name, time);
        }
        dir.dir("zdir");
        dir.dir(".git");
        dir.dir(".well-known");
        dir.fifo("pipe");
        let order = |query: &str| listed(&dir, "/", wanted(&format!("format=json&{query}")));
        assert_eq!(names(&order("")), [".well-known", "zdir", "A.txt", "b.txt", "c.txt", "pipe"]);
        assert_eq!(names(&order("order=desc"))[..3], ["zdir", ".well-known", "pipe"]);
        assert_eq!(names(&order("sort=size"))[2..], ["pipe", "c.txt", "A.txt", "b.txt"]);
        assert_eq!(names(&order("sort=time"))[2..5], ["A.txt", "c.txt", "b.txt"]);
        assert_eq!(names(&order("sort=time&order=desc"))[3..], ["b.txt", "c.txt", "A.txt"]);
        let json = order("");
        assert!(
            json.contains(r#"{"name":"A.txt","type":"file","size":2,"mtime":"1970-01-01T00:00:10Z"}"#),
            "{json}"
        );
        assert!(json.contains(r#"{"name":"zdir","type":"directory","size":null,"#), "{json}");
        assert!(json.contains(r#"{"name":"pipe","type":"other","size":null,"#), "{json}");
    }

    #[test]
    fn themes_are_styles_of_one_page() {
        let dir = TestDir::new();
        dir.write("sub/a", "");
        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        let page = |theme| {
            let shown = View { theme, ..view(b"/files/", Wanted::default(), 10) };
            String::from_utf8(list(root.dir(), b"/sub/", shown).unwrap().body).unwrap()
        };
        let without_style = |page: &str| match (page.find("<style>"), page.find("</style>\n")) {
            (Some(start), Some(end)) => format!("{}{}", &page[..start], &page[end + 9..]),
            _ => page.to_owned(),
        };
        let plain = page(Theme::Plain);
        assert!(!plain.contains("style") && plain.contains("<title>/files/</title>"), "{plain}");
        assert_eq!(without_style(&page(Theme::Default)), plain);
        assert_eq!(without_style(&page(Theme::Compact)), plain);
        assert!(page(Theme::Compact).len() > page(Theme::Default).len());
    }

    #[test]
    fn links_that_lead_out_lead_nowhere() {
        let dir = TestDir::new();
        dir.write("secret", "123456");
        dir.write("site/real/file", "1234");
        dir.link("../secret", "site/out");
        dir.link("nothing", "site/broken");
        dir.link("real/file", "site/in");
        dir.link("real", "site/indir");
        let root = Root::open(&dir.path().join("site"), RootOptions::default(), 0).unwrap();
        let get = |query: &str| {
            let body = list(root.dir(), b"/", view(b"/", wanted(query), ENTRIES_MAX)).unwrap().body;
            String::from_utf8(body).unwrap()
        };
        let json = get("format=json");
        assert!(json.contains(r#"{"name":"out","type":"link","size":null"#), "{json}");
        assert!(json.contains(r#"{"name":"broken","type":"link""#), "{json}");
        assert!(json.contains(r#"{"name":"in","type":"file","size":4"#), "{json}");
        assert!(json.contains(r#"{"name":"indir","type":"directory""#), "{json}");
        let html = get("");
        assert!(html.contains("<a href=\"in\">in</a>") && html.contains("<a href=\"indir/\">indir/</a>"));
        assert!(!html.contains("href=\"out\"") && html.contains(">out<"), "{html}");
    }

    #[test]
    fn the_page_is_escaped_whatever_names_there_are() {
        let dir = TestDir::new();
        dir.write("<b>&\"'.txt", "");
        dir.write("a:b?c#d%20 e", "");
        dir.write("sub <i>/deep/x", "");
        use std::os::unix::ffi::OsStrExt as _;
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"\xff\n")), "").unwrap();
        let html = listed(&dir, "/", Wanted::default());
        assert!(
            html.contains("<a href=\"%3Cb%3E%26%22%27.txt\">&lt;b&gt;&amp;&quot;&#39;.txt</a>"),
            "{html}"
        );
        assert!(html.contains("<a href=\"a%3Ab%3Fc%23d%2520%20e\">a:b?c#d%20 e</a>"), "{html}");
        assert!(html.contains("<a href=\"%FF%0A\">\u{fffd}\u{fffd}</a>"), "{html}");
        assert!(!html.contains("<b>") && !html.contains("<i>") && !html.contains("<script"));
        assert!(!html.contains("../"), "the root has no parent");
        let deep = listed(&dir, "/sub <i>/deep/", Wanted::default());
        assert!(deep.contains("<a href=\"../\">../</a>"), "{deep}");
        assert!(deep.contains("<a href=\"/sub%20%3Ci%3E/\">sub &lt;i&gt;</a>"), "{deep}");
        assert!(deep.contains("&rsaquo;</span>deep</h1>"), "{deep}");
        let json = listed(&dir, "/", wanted("format=json"));
        assert!(json.contains(r#"{"name":"\ufffd\n","type":"file""#), "{json}");
    }

    #[test]
    fn the_sorted_column_says_so_and_turns_round() {
        let dir = TestDir::new();
        let html = listed(&dir, "/", wanted("sort=size"));
        assert!(
            html.contains("aria-sort=\"ascending\"><a href=\"?sort=size&amp;order=desc\">Size"),
            "{html}"
        );
        assert!(html.contains("\"><a href=\"?sort=name&amp;order=asc\">Name"), "{html}");
        assert!(html.contains("<footer>0 entries</footer>"), "{html}");
    }

    #[test]
    fn a_large_directory_is_cut_and_says_so() {
        let dir = TestDir::new();
        for number in 0..10 {
            dir.write(&format!("{number}"), "");
            dir.write(&format!(".{number}"), "");
        }
        let root = Root::open(dir.path(), RootOptions::default(), 0).unwrap();
        let cut = list(root.dir(), b"/", view(b"/", Wanted::default(), 9)).unwrap();
        assert!(cut.is_cut);
        assert!(String::from_utf8(cut.body).unwrap().contains("9 entries shown, and more that are not"));
        let whole = list(root.dir(), b"/", view(b"/", Wanted::default(), 10)).unwrap();
        assert!(!whole.is_cut);
        // Hidden names are bounded too.
        assert!(list(root.dir(), b"/", view(b"/", Wanted::default(), 2)).unwrap().is_cut);
        assert_eq!(
            list(root.dir(), b"/1", view(b"/1", Wanted::default(), 2)).unwrap_err(),
            OpenError::NotFound
        );
    }

    #[test]
    fn sizes_are_readable() {
        for (len, wanted) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (10 * 1024, "10 KiB"),
            (1024 * 1024 - 1, "1023 KiB"),
            (5 << 30, "5.0 GiB"),
            (u64::MAX, "15 EiB"),
        ] {
            let mut out = Vec::new();
            write_size(&mut out, len);
            assert_eq!(String::from_utf8(out).unwrap(), wanted);
        }
    }
}
