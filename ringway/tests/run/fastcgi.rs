//! A site in PHP, configured as its operator would, served by a process that is confined.

use crate::stand::{Stand, on_both_drivers, text};
use ringway_testkit::{Fpm, Scratch};
use std::path::PathBuf;

#[test]
fn a_blog_in_php_is_served_by_a_confined_process() {
    on_both_drivers(blog);
}

fn blog(driver: &str) {
    let php = Scratch::new("run-fastcgi-php");
    let fpm = Fpm::on_unix(&php, "fpm");
    let mut stand = Stand::new("run-fastcgi", driver);
    stand.file(
        "site/index.php",
        b"<?php echo 'front ', $_SERVER['REQUEST_URI'], ' ', getenv('NONE') ?: $_SERVER['APP_ENV'];",
    );
    stand.file(
        "site/page.php",
        b"<?php header('X-Sendfile: ' . $_SERVER['DOCUMENT_ROOT'] . '/../other/index.html');",
    );
    stand.file("site/style.css", b"body {}");
    let other = stand.at("other");
    stand.more = format!(
        "index = [\"index.php\"]\ntry = [\"{{path}}\", \"{{path}}/\", \"/index.php\"]\n\
         [[site.route]]\npath = \"/**\"\n[site.route.fastcgi]\nupstream = \"php\"\nparams = {{ APP_ENV = \"test\" }}\n\
         send_file = [{{ path = \"/sent\", root = {other:?} }}]\n\
         [[upstream]]\nname = \"php\"\nprotocol = \"fastcgi\"\nmax_connections = 3\n\
         [[upstream.backend]]\naddress = {:?}\n",
        fpm.address
    );
    stand.write();
    let running = stand.start();
    let get = |target: &str| running.get(target);
    for n in 0..5 {
        assert_eq!(text(&get(&format!("/some/post?{n}")).body), format!("front /some/post?{n} test"));
    }
    assert_eq!(text(&get("/").body), "front / test");
    assert_eq!(text(&get("/style.css").body), "body {}");
    assert_eq!(text(&get("/none.php").body), "front /none.php test");
    // The directory is confined to; `..` in a name leads nowhere.
    assert_eq!(get("/page.php").status, 502);
    stand.file("site/page.php", b"<?php header('X-Accel-Redirect: /sent/index.html');");
    let sent: PathBuf = stand.at("other/index.html");
    assert!(sent.is_file());
    assert_eq!(text(&get("/page.php?again").body), "two");
    // As it was configured, with the short form.
    stand.more = stand.more.replace("[site.route.fastcgi]\nupstream", "fastcgi");
    let short: String = stand
        .more
        .lines()
        .filter(|line| !line.starts_with("params") && !line.starts_with("send_file"))
        .fold(String::new(), |all, line| all + line + "\n");
    stand.more = short;
    stand.write();
    stand.reload();
    assert!(text(&get("/reloaded").body).starts_with("front /reloaded "));
}
