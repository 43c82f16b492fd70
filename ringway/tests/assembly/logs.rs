//! Logs: of the server, of a site, and errors.

use crate::served::{Served, drivers, files};
use std::path::Path;
use std::time::{Duration, Instant};

/// Waits until a file has so many lines.
fn lines(path: &Path, count: usize) -> Vec<String> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        if lines.len() >= count || Instant::now() > deadline {
            return lines;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn each_site_writes_where_it_should() {
    let folder = files("run-logs", &[("index.html", "i")]);
    let text = "[[endpoint]]\nname = \"main\"\nlisten = [\"127.0.0.1:0\"]\n[log.access]\npath = \"all.log\"\n[log.error]\npath = \"error.log\"\n\
                level = \"info\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n[[site.rule]]\nname = \"no-x\"\naction = \"deny\"\npaths = [\"/x\"]\n\
                [[site]]\nnames = [\"own\"]\nroot = \".\"\naccess_log = { path = \"own.log\", format = \"json\" }\n";
    for driver in drivers() {
        let served = Served::new(text, folder.path(), driver);
        served.get("a", "/one");
        served.get("own", "/two");
        served.get("a", "/x");
        let all = lines(&folder.path().join("all.log"), 2);
        // Two workers write, each in its time.
        let has = |part: &str| all.iter().any(|line| line.contains(part));
        assert!(
            all.len() == 2 && has("\"GET /one HTTP/1.1\" 404") && has("\"GET /x HTTP/1.1\" 403"),
            "{all:?}"
        );
        let own = lines(&folder.path().join("own.log"), 1);
        let record: serde_json::Value = serde_json::from_str(&own[0]).expect("JSON");
        assert_eq!(own.len(), 1);
        assert!(record.to_string().contains("/two"), "{record}");
        let errors = lines(&folder.path().join("error.log"), 1);
        assert!(errors[0].contains("no-x") && errors[0].contains("info"), "{errors:?}");
        drop(served);
        for name in ["all.log", "own.log", "error.log"] {
            std::fs::remove_file(folder.path().join(name)).expect("it is there");
        }
    }
}

#[test]
fn log_files_are_opened_anew() {
    let folder = files("run-reopen", &[("index.html", "i")]);
    let text = "[[endpoint]]\nname = \"main\"\nlisten = [\"127.0.0.1:0\"]\n[log.access]\npath = \"all.log\"\n[[site]]\nnames = [\"*\"]\nroot = \".\"\n";
    let served = Served::new(text, folder.path(), drivers()[0]);
    served.get("a", "/one");
    lines(&folder.path().join("all.log"), 1);
    std::fs::rename(folder.path().join("all.log"), folder.path().join("old.log")).expect("it is there");
    assert_eq!(served.running.reopen_logs(), Vec::<String>::new());
    served.get("a", "/two");
    assert!(lines(&folder.path().join("all.log"), 1)[0].contains("/two"));
    assert_eq!(lines(&folder.path().join("old.log"), 1).len(), 1);
}
