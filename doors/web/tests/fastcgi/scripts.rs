//! What the tests have PHP run.

use ringway_testkit::Scratch;

/// The programs of the tests, below `www`.
pub(crate) fn scripts(place: &Scratch) {
    for (name, text) in [
        ("index.php", INDEX),
        ("info.php", "<?php phpinfo();"),
        ("session.php", SESSION),
        ("db.php", DATABASE),
        ("upload.php", UPLOAD),
        ("raw.php", RAW),
        ("large.php", LARGE),
        ("status.php", STATUS),
        ("where.php", WHERE),
        ("complain.php", COMPLAIN),
        ("slow.php", SLOW),
        ("fields.php", FIELDS),
        ("blog/index.php", "<?php echo 'blog index';"),
        ("upload/evil.jpg", "<?php echo 'evil';"),
        ("style.css", "body {}"),
    ] {
        place.file(&format!("www/{name}"), text.as_bytes());
    }
}

const INDEX: &str = r#"<?php echo "front {$_SERVER['REQUEST_METHOD']} {$_SERVER['REQUEST_URI']} {$_SERVER['QUERY_STRING']}";"#;

const SESSION: &str =
    r#"<?php session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];"#;

const DATABASE: &str = r#"<?php
$db = new PDO('sqlite:' . $_SERVER['DOCUMENT_ROOT'] . '/../tmp/test.db');
$db->setAttribute(PDO::ATTR_ERRMODE, PDO::ERRMODE_EXCEPTION);
$db->exec('CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, name TEXT)');
$db->prepare('INSERT INTO t (name) VALUES (?)')->execute([$_GET['name']]);
echo json_encode($db->query('SELECT name FROM t ORDER BY id')->fetchAll(PDO::FETCH_COLUMN));"#;

const UPLOAD: &str = r#"<?php $f = $_FILES['file'];
echo $f['name'], ' ', $f['size'], ' ', hash_file('fnv1a64', $f['tmp_name']), ' ', $_POST['note'];"#;

const RAW: &str = r#"<?php $in = file_get_contents('php://input');
echo $_SERVER['REQUEST_METHOD'], ' ', $_SERVER['CONTENT_LENGTH'] ?? 'none', ' ', strlen($in), ' ', hash('fnv1a64', $in);"#;

const LARGE: &str = r#"<?php $n = (int)($_GET['n'] ?? 3145728);
if (isset($_GET['length'])) header("Content-Length: $n");
for ($left = $n; $left > 0; $left -= 4096) { echo substr(str_repeat('0123456789abcdef', 256), 0, min(4096, $left)); }"#;

const STATUS: &str = r#"<?php $s = (int)$_GET['s'];
if (isset($_GET['to'])) header('Location: ' . $_GET['to'], true, $s); else http_response_code($s);
if ($s != 204 && $s != 304) echo "status $s";"#;

const WHERE: &str = r#"<?php foreach (['SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'PATH_TRANSLATED', 'DOCUMENT_ROOT', 'QUERY_STRING',
'REQUEST_URI', 'PHP_SELF', 'HTTP_PROXY', 'HTTP_HOST', 'REMOTE_ADDR', 'SERVER_PROTOCOL', 'APP_ENV', 'PHP_AUTH_USER'] as $name)
echo $name, '=', $_SERVER[$name] ?? '-', "\n";"#;

const COMPLAIN: &str =
    r#"<?php error_log('this went wrong'); fwrite(fopen('php://stderr', 'w'), ''); echo 'done';"#;

const SLOW: &str = r#"<?php ignore_user_abort(false); while (ob_get_level()) ob_end_flush();
echo str_repeat('x', 8192); flush(); usleep((int)($_GET['us'] ?? 300000)); echo 'end';"#;

const FIELDS: &str = r#"<?php header('X-One: 1'); header('X-Two: a', false); header('X-Two: b', false); header('Connection: close');
header('Content-Type: text/plain;charset=UTF-8'); setcookie('a', '1'); setcookie('b', '2'); echo str_repeat('h', (int)($_GET['n'] ?? 5));
header('X-Long: ' . str_repeat('l', (int)($_GET['l'] ?? 10)));"#;

/// FNV-1a of 64 bits, as PHP writes it.
pub(crate) fn fnv(bytes: &[u8]) -> String {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}
