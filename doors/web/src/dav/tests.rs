//! What WebDAV does to a root on a real file system, and what it makes of what a dead process has left.

use super::ask::Ask;
use super::disk::{copy_tree, measure, remove_tree};
use super::options::DavOptions;
use super::outcome::{Failure, Outcome};
use super::store::{HIDDEN, Store};
use super::tree::Tree;
use super::{change, lock, properties, put};
use crate::load::LoadOptions;
use crate::root::{OpenRoot, RootOptions};
use crate::test_dir::TestDir;
use ringway_dav::name::Name;
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::fs;
use std::os::fd::AsFd;
use std::sync::Arc;

/// A time that all requests are made at, in seconds since 1970.
const NOW_S: u64 = 1_800_000_000;

const LOCK: &str = "<D:lockinfo xmlns:D=\"DAV:\"><D:lockscope><D:exclusive/></D:lockscope>\
                    <D:locktype><D:write/></D:locktype><D:owner>ann</D:owner></D:lockinfo>";

struct Stand {
    dir: TestDir,
    tree: Arc<Tree>,
}

impl Stand {
    fn new(options: DavOptions) -> Self {
        let dir = TestDir::new();
        let tree = tree(&dir, options);
        Self { dir, tree }
    }

    /// Another process' view of the same root.
    fn another(&self) -> Arc<Tree> {
        tree(&self.dir, self.tree.options().clone())
    }

    fn ask(&self, method: &str, path: &str, fields: &str, body: &str) -> Ask {
        ask(&self.tree, method, path, fields, body)
    }

    fn put(&self, path: &str, fields: &str, body: &str) -> u16 {
        status(upload(&self.ask("PUT", path, fields, ""), body))
    }

    fn lock(&self, path: &str, fields: &str) -> String {
        let outcome = lock::lock(&self.ask("LOCK", path, fields, LOCK)).unwrap();
        let lines = String::from_utf8(outcome.lines).unwrap();
        let token = lines.split("Lock-Token: <").nth(1).unwrap();
        token.split('>').next().unwrap().to_owned()
    }

    fn set(&self, path: &str, value: &str) {
        let body = format!(
            "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><p xmlns=\"urn:x\">{value}</p></D:prop></D:set></D:propertyupdate>"
        );
        let outcome = properties::patch_properties(&self.ask("PROPPATCH", path, "", &body)).unwrap();
        assert!(text(&outcome).contains("200 OK"), "{}", text(&outcome));
    }

    /// The property that [`Stand::set`] sets.
    fn value(&self, path: &str) -> Option<String> {
        let properties = self.tree.store().unwrap().properties_of(path.as_bytes()).unwrap();
        properties.get(&Name::new("urn:x", "p")).map(|value| String::from_utf8(value.to_vec()).unwrap())
    }

    fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.dir.path().join(path)).ok()
    }

    /// What lies in the directories of processes.
    fn left_over(&self) -> usize {
        let tmp = self.dir.path().join(".ringway-dav/tmp");
        let sessions = fs::read_dir(tmp).unwrap().map(|session| session.unwrap().path());
        sessions.map(|session| fs::read_dir(session).unwrap().count()).sum()
    }
}

fn tree(dir: &TestDir, options: DavOptions) -> Arc<Tree> {
    let root = OpenRoot::open(dir.path(), RootOptions::default()).unwrap();
    Arc::new(Tree::new(&root, Arc::new(LoadOptions::default()), b"", options))
}

fn ask(tree: &Arc<Tree>, method: &str, path: &str, fields: &str, body: &str) -> Ask {
    let head = format!("{method} /{path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    let destination = fields.split("Destination: /").nth(1).map(|rest| rest.split("\r\n").next().unwrap());
    Ask {
        tree: Arc::clone(tree),
        head: head.into_bytes().into(),
        path: path.trim_end_matches('/').as_bytes().into(),
        has_slash: path.ends_with('/'),
        destination: destination.map(|path| path.as_bytes().into()),
        user: None,
        body: body.as_bytes().to_vec(),
        now_s: NOW_S,
    }
}

fn upload(ask: &Ask, body: &str) -> Result<Outcome, Failure> {
    let mut upload = put::begin(ask, Some(body.len() as u64))?;
    upload.write(body.as_bytes())?;
    put::finish(ask, upload)
}

fn status(outcome: Result<Outcome, Failure>) -> u16 {
    outcome.map_or_else(|failure| failure.status, |outcome| outcome.status).code()
}

fn text(outcome: &Outcome) -> String {
    String::from_utf8(outcome.body.clone()).unwrap()
}

fn etag(outcome: &Outcome) -> String {
    let lines = String::from_utf8(outcome.lines.clone()).unwrap();
    lines.trim_end().strip_prefix("ETag: ").unwrap().to_owned()
}

#[test]
fn trees_are_removed_copied_and_measured_however_deep() {
    let dir = TestDir::new();
    let deep = "d/".repeat(300);
    dir.write(&format!("tree/{deep}file"), "12345");
    dir.write("tree/.hidden/file", "x");
    dir.write("tree/a", "123");
    dir.link("/etc/passwd", "tree/link");
    dir.fifo("tree/fifo");
    dir.dir("copy");
    let root = OpenRoot::open(dir.path(), RootOptions::default()).unwrap();
    assert_eq!(measure(root.dir(), b"tree", b""), Ok(9));
    assert_eq!(measure(root.dir(), b"tree/a", b""), Ok(3));
    let is_wanted = |name: &[u8]| name.first() != Some(&b'.');
    let mut taken = 0;
    let both = ((root.dir(), &b"tree"[..]), (root.dir(), &b"copy"[..]));
    copy_tree::<Failure>(both.0, both.1, is_wanted, true, |bytes| {
        taken += bytes;
        Ok(())
    })
    .unwrap();
    assert_eq!((taken, measure(root.dir(), b"copy", b"")), (8, Ok(8)));
    assert!(!dir.path().join("copy/link").exists() && !dir.path().join("copy/.hidden").exists());
    let refused = copy_tree(both.0, (root.dir(), b"copy/d"), is_wanted, false, |_| {
        Err(Failure::new(ringway_http::status::Status::INSUFFICIENT_STORAGE))
    });
    assert_eq!(status(refused.map(|()| unreachable!())), 507);
    let within = openat(CWD, dir.path(), OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    assert_eq!(remove_tree(within.as_fd(), b"tree"), Ok(9));
    assert_eq!(remove_tree(within.as_fd(), b"copy"), Ok(8));
    assert_eq!(remove_tree(within.as_fd(), b"copy"), Ok(0), "what is not there is removed");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    assert!(fs::metadata("/etc/passwd").is_ok());
}

#[test]
fn a_put_that_does_not_end_is_never_seen_and_leaves_nothing() {
    let stand = Stand::new(DavOptions::default());
    assert_eq!(stand.put("a", "", "old"), 201);
    let asked = stand.ask("PUT", "a", "", "");
    let mut upload = put::begin(&asked, Some(3)).unwrap();
    upload.write(b"ha").unwrap();
    assert_eq!((stand.read("a").as_deref(), stand.left_over()), (Some("old"), 1));
    drop(upload);
    assert_eq!((stand.read("a").as_deref(), stand.left_over()), (Some("old"), 0));
}

#[test]
fn what_a_dead_process_has_left_is_removed_and_what_a_living_one_has_is_not() {
    let stand = Stand::new(DavOptions::default());
    let asked = stand.ask("PUT", "a", "", "");
    let upload = put::begin(&asked, Some(3)).unwrap();
    stand.dir.write(".ringway-dav/tmp/0123/n7", "half a file");
    stand.dir.write(".ringway-dav/tmp/0123/tree/deep/file", "half a tree");
    stand.another().prepare().unwrap();
    assert!(!stand.dir.path().join(".ringway-dav/tmp/0123").exists());
    assert_eq!(status(put::finish(&asked, upload)), 201, "its file was still there");
}

#[test]
fn of_two_that_write_against_one_state_one_wins() {
    let stand = Stand::new(DavOptions::default());
    let first = upload(&stand.ask("PUT", "a", "If-None-Match: *\r\n", ""), "1").unwrap();
    assert_eq!(stand.put("a", "If-None-Match: *\r\n", "2"), 412);
    let condition = format!("If-Match: {}\r\n", etag(&first));
    // Both begin before one ends.
    let (one, other) =
        (stand.ask("PUT", "a", &condition, ""), ask(&stand.another(), "PUT", "a", &condition, ""));
    let one_upload = put::begin(&one, Some(0)).unwrap();
    let other_upload = put::begin(&other, Some(0)).unwrap();
    assert_eq!(status(put::finish(&other, other_upload)), 204);
    assert_eq!(status(put::finish(&one, one_upload)), 412);
    assert_eq!(stand.left_over(), 0);
}

#[test]
fn parts_are_replaced_as_a_whole_or_not_at_all() {
    let stand = Stand::new(DavOptions::default());
    assert_eq!(stand.put("a", "", "0123456789"), 201);
    assert_eq!(stand.put("a", "Content-Range: bytes 2-4/*\r\n", "abc"), 204);
    assert_eq!(stand.read("a").as_deref(), Some("01abc56789"));
    assert_eq!(stand.put("a", "Content-Range: bytes 10-11/*\r\n", "xy"), 204);
    assert_eq!(stand.read("a").as_deref(), Some("01abc56789xy"));
    assert_eq!(stand.put("a", "Content-Range: bytes 1-2/3\r\n", "!!"), 204);
    assert_eq!(stand.read("a").as_deref(), Some("0!!"), "the whole is as long as it is said to be");
    assert_eq!(stand.put("a", "Content-Range: bytes 9-10/*\r\n", "zz"), 416, "a hole");
    assert_eq!(stand.put("a", "Content-Range: bytes 0-9/*\r\n", "zz"), 400, "another length");
    assert_eq!(stand.put("a", "Content-Range: items 0-1/*\r\n", "zz"), 400);
    assert_eq!(stand.put("new", "Content-Range: bytes 0-1/*\r\n", "ab"), 201);
    // Two parts at a time: the second one's copy of the rest is old.
    let part = "Content-Range: bytes 0-0/*\r\n";
    let asked = stand.ask("PUT", "a", part, "");
    let mut upload = put::begin(&asked, Some(1)).unwrap();
    upload.write(b"x").unwrap();
    assert_eq!(stand.put("a", "Content-Range: bytes 2-2/*\r\n", "y"), 204);
    assert_eq!(status(put::finish(&asked, upload)), 409);
    assert_eq!(stand.read("a").as_deref(), Some("0!y"));
}

#[test]
fn the_quota_holds_and_comes_back() {
    let stand = Stand::new(DavOptions { quota_bytes: Some(100), ..DavOptions::default() });
    stand.dir.write("there", "x".repeat(40));
    assert_eq!(stand.put("a", "", &"a".repeat(50)), 201);
    assert_eq!(stand.put("b", "", &"b".repeat(11)), 507);
    assert_eq!(stand.put("b", "", &"b".repeat(10)), 201);
    assert_eq!(stand.put("a", "", "short"), 507, "the old and the new are there for a moment");
    assert_eq!(status(change::copy(&stand.ask("COPY", "b", "Destination: /c\r\n", ""))), 507);
    assert_eq!(status(change::delete(&stand.ask("DELETE", "a", "", ""))), 204);
    assert_eq!(status(change::copy(&stand.ask("COPY", "b", "Destination: /c\r\n", ""))), 201);
    let asked = "<D:propfind xmlns:D=\"DAV:\"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/></D:prop></D:propfind>";
    let told = properties::find_properties(&stand.ask("PROPFIND", "", "Depth: 0\r\n", asked)).unwrap();
    assert!(text(&told).contains("<D:quota-available-bytes>40<"), "{}", text(&told));
    assert!(text(&told).contains("<D:quota-used-bytes>60<"), "{}", text(&told));
    assert_eq!(stand.left_over(), 0);
}

#[test]
fn properties_go_where_their_resource_goes() {
    let stand = Stand::new(DavOptions::default());
    stand.dir.write("a/b/file", "x");
    stand.dir.write("old/file", "y");
    for path in ["a", "a/b", "a/b/file", "old", "old/file"] {
        stand.set(path, path);
    }
    assert_eq!(status(change::copy(&stand.ask("COPY", "a", "Destination: /c\r\n", ""))), 201);
    assert_eq!(stand.value("c/b/file").as_deref(), Some("<p xmlns=\"urn:x\">a/b/file</p>"));
    assert_eq!(status(change::copy(&stand.ask("COPY", "a", "Depth: 0\r\nDestination: /flat\r\n", ""))), 201);
    assert!(stand.value("flat").is_some() && stand.value("flat/b").is_none());
    assert_eq!(status(change::relocate(&stand.ask("MOVE", "a", "Destination: /old\r\n", ""))), 204);
    assert_eq!(stand.value("old").as_deref(), Some("<p xmlns=\"urn:x\">a</p>"));
    assert!(stand.value("old/file").is_none() && stand.value("a").is_none() && stand.value("a/b").is_none());
    assert!(stand.value("old/b/file").is_some());
    assert_eq!(stand.put("old/b/file", "", "new"), 204);
    assert!(stand.value("old/b/file").is_some(), "a file that is written keeps them");
    assert_eq!(status(change::delete(&stand.ask("DELETE", "old", "", ""))), 204);
    assert_eq!(stand.put("old", "", "another"), 201);
    assert_eq!(stand.value("old"), None, "another resource");
    assert_eq!(stand.left_over(), 0);
}

#[test]
fn a_move_that_a_process_died_in_is_ended() {
    let stand = Stand::new(DavOptions::default());
    stand.dir.write("a/file", "x");
    stand.set("a/file", "1");
    stand.dir.write("b", "x");
    stand.set("b", "2");
    let store = stand.tree.store().unwrap();
    // It was written down, and the resource had gone; then the process died.
    #[allow(clippy::mem_forget, reason = "a process that dies drops nothing")]
    std::mem::forget(store.announce_move(b"a", b"z").unwrap().unwrap());
    fs::rename(stand.dir.path().join("a"), stand.dir.path().join("z")).unwrap();
    // And something was removed by other means.
    fs::remove_file(stand.dir.path().join("b")).unwrap();
    stand.another().prepare().unwrap();
    assert!(stand.value("z/file").is_some());
    let kept = stand.dir.path().join(".ringway-dav");
    assert!(!kept.join("properties/a").exists() && !kept.join("properties/b").exists());
    assert_eq!(fs::read_dir(kept.join("moves")).unwrap().count(), 0);
}

#[test]
fn locks_are_kept_and_known_to_all_processes() {
    let stand = Stand::new(DavOptions { lock_s_max: 60, ..DavOptions::default() });
    assert_eq!(stand.put("a", "", "x"), 201);
    let token = stand.lock("a", "Timeout: Infinite\r\n");
    let other = stand.another();
    let put = |fields: &str| status(upload(&ask(&other, "PUT", "a", fields, ""), "y"));
    assert_eq!(put(""), 423);
    assert_eq!(put(&format!("If: (<{token}>)\r\n")), 204);
    assert_eq!(put("If: (<urn:uuid:0>)\r\n"), 412);
    assert_eq!(put("If: (<urn:uuid:0>) (Not <DAV:no-lock>)\r\n"), 423);
    let unlock = |tree: &Arc<Tree>| {
        status(lock::unlock(&ask(tree, "UNLOCK", "a", &format!("Lock-Token: <{token}>\r\n"), "")))
    };
    let late = Ask { now_s: NOW_S + 60, ..ask(&other, "PUT", "a", "", "") };
    assert_eq!(
        status(put::begin(&late, Some(0)).map(|_| Outcome::new(ringway_http::status::Status::OK))),
        200,
        "its time is up"
    );
    assert_eq!((unlock(&stand.tree), unlock(&other)), (204, 409));
    assert_eq!(put(""), 204);
}

#[test]
fn locks_of_others_stand_in_the_way_of_what_lies_around_them() {
    let stand = Stand::new(DavOptions { locks_max: 2, ..DavOptions::default() });
    stand.dir.write("dir/file", "x");
    stand.dir.write("free", "x");
    let token = stand.lock("dir/file", "Depth: 0\r\n");
    let delete = |path: &str, fields: &str| change::delete(&stand.ask("DELETE", path, fields, ""));
    let refused = Outcome::from(delete("dir", "").unwrap_err());
    assert!(
        text(&refused).contains("<D:lock-token-submitted><D:href>/dir/file</D:href>"),
        "{}",
        text(&refused)
    );
    let go = |method: &str, from: &str, to: &str| {
        let asked = stand.ask(method, from, &format!("Destination: /{to}\r\n"), "");
        status(if method == "COPY" { change::copy(&asked) } else { change::relocate(&asked) })
    };
    assert_eq!(
        (go("MOVE", "dir", "elsewhere"), go("COPY", "free", "dir/file"), go("COPY", "dir/file", "copied")),
        (423, 423, 201)
    );
    let locked = lock::lock(&stand.ask("LOCK", "dir", "", LOCK));
    assert_eq!(status(locked), 423, "a deep lock meets the other one");
    let made = stand.lock("new", "");
    assert_eq!((stand.read("new").as_deref(), made == token), (Some(""), false));
    assert_eq!(status(lock::lock(&stand.ask("LOCK", "third", "", LOCK))), 503);
    assert_eq!(stand.read("third"), None, "nothing is made for a lock that is not given");
    assert_eq!(status(delete("dir", &format!("If: </dir/file> (<{token}>)\r\n"))), 204);
    assert_eq!(stand.tree.store().unwrap().hold(NOW_S).unwrap().locks().len(), 1, "its lock went with it");
}

#[test]
fn nothing_is_done_through_links_or_to_what_is_hidden() {
    let stand = Stand::new(DavOptions::default());
    let outside = TestDir::new();
    outside.write("file", "theirs");
    stand.dir.link(outside.path().to_str().unwrap(), "out");
    stand.dir.write("file", "x");
    stand.dir.link("file", "alias");
    assert_eq!(
        (stand.put("out/new", "", "x"), stand.put("out/file", "", "x"), stand.put("alias", "", "x")),
        (403, 403, 403)
    );
    let delete = |path: &str| status(change::delete(&stand.ask("DELETE", path, "", "")));
    assert_eq!((delete("out"), delete("out/file"), delete(""), delete("gone")), (403, 403, 403, 404));
    let to = |path: &str| {
        status(change::copy(&stand.ask("COPY", "file", &format!("Destination: /{path}\r\n"), "")))
    };
    assert_eq!(
        (to(".ringway-dav/locks"), to("out/x"), to("file"), to("file/below"), to(".x")),
        (403, 403, 403, 403, 403)
    );
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    let told = properties::find_properties(&stand.ask("PROPFIND", "", "Depth: 1\r\n", "")).unwrap();
    let told = text(&told);
    assert!(told.contains("/file<") && told.contains("/alias<"), "{told}");
    assert!(!told.contains("/out") && !told.contains("ringway"), "{told}");
    assert_eq!(HIDDEN.first(), Some(&b'.'));
}

#[test]
fn what_is_too_much_is_said_to_be_missing_or_refused() {
    let options =
        DavOptions { entries_max: 3, file_bytes_max: 5, properties_bytes_max: 200, ..DavOptions::default() };
    let stand = Stand::new(options);
    for number in 0..5 {
        stand.dir.write(&format!("f{number}"), "x");
    }
    let told = properties::find_properties(&stand.ask("PROPFIND", "", "Depth: 1\r\n", "")).unwrap();
    assert_eq!(
        text(&told).matches("<D:response>").count(),
        5,
        "the directory, three of its files, and that it is not all"
    );
    assert!(text(&told).contains("507"));
    let deep = properties::find_properties(&stand.ask("PROPFIND", "", "", ""));
    assert_eq!(status(deep), 403);
    assert_eq!(
        (stand.put("large", "", "123456"), stand.put("large", "Content-Range: bytes 5-5/*\r\n", "6")),
        (413, 413)
    );
    let long = format!(
        "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><x>{}</x></D:prop></D:set></D:propertyupdate>",
        "x".repeat(300)
    );
    let patched = properties::patch_properties(&stand.ask("PROPPATCH", "f0", "", &long)).unwrap();
    assert!(text(&patched).contains("507"), "{}", text(&patched));
    let mixed = "<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop><x/><D:getetag>1</D:getetag></D:prop></D:set></D:propertyupdate>";
    let patched = text(&properties::patch_properties(&stand.ask("PROPPATCH", "f0", "", mixed)).unwrap());
    assert!(
        patched.contains("403") && patched.contains("424") && patched.contains("cannot-modify-protected"),
        "{patched}"
    );
    assert!(stand.tree.store().unwrap().properties_of(b"f0").unwrap().is_empty(), "all or nothing");
}

#[test]
fn a_store_that_cannot_be_made_is_told_of() {
    let stand = Stand::new(DavOptions::default());
    stand.dir.write(".ringway-dav", "in the way");
    let told = stand.tree.prepare().unwrap_err();
    assert!(told.contains(".ringway-dav"), "{told}");
    fs::remove_file(stand.dir.path().join(".ringway-dav")).unwrap();
    let root = OpenRoot::open(stand.dir.path(), RootOptions::default()).unwrap();
    let dir = Arc::clone(crate::root::Root::of(&root, 0).dir());
    assert!(Store::open(dir, DavOptions::default()).is_ok());
    assert_eq!(stand.put("a", "", "x"), 201, "it is tried again");
}
