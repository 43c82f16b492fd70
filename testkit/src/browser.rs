//! A headless Chromium with windows that tests look into, type into and take pictures of. It is told what to do over pipes (its
//! DevTools protocol), so there is no port that somebody else could have.

use crate::Scratch;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a browser may take for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where pictures are kept for those who want to look at them.
const PICTURES: &str = "RINGWAY_PICTURES";

/// A browser. It does not outlive the test.
#[derive(Debug)]
pub struct Browser(Rc<RefCell<Inner>>);

#[derive(Debug)]
struct Inner {
    child: Child,
    commands: ChildStdin,
    answers: Receiver<Value>,
    asked: u64,
    /// Its profile.
    scratch: Scratch,
}

/// A window with a profile of its own: nothing is remembered from other windows.
#[derive(Debug)]
pub struct Window {
    browser: Rc<RefCell<Inner>>,
    session: String,
    target: Value,
}

impl Browser {
    /// Starts one; `None` where there is no Chromium.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start() -> io::Result<Option<Self>> {
        let asked =
            Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !asked.is_ok_and(|status| status.success()) {
            return Ok(None);
        }
        let scratch = Scratch::new("chromium");
        // Commands come on its descriptor 3 and answers leave on 4; this is how they get there.
        let mut child = Command::new("sh")
            .args(["-c", "exec chromium \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars"])
            .args(["--disable-dev-shm-usage", "--ignore-certificate-errors", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", scratch.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (commands, output) = (child.stdin.take(), child.stdout.take());
        let (Some(commands), Some(output)) = (commands, output) else {
            return Err(io::ErrorKind::BrokenPipe.into());
        };
        let (told, answers) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                if let Ok(message) = serde_json::from_slice(&message)
                    && told.send(message).is_err()
                {
                    return;
                }
            }
        });
        Ok(Some(Self(Rc::new(RefCell::new(Inner { child, commands, answers, asked: 0, scratch })))))
    }

    /// Opens a window of so many pixels, light or dark, at an address.
    ///
    /// # Errors
    /// The browser's words.
    pub fn window(&self, size: (u32, u32), is_dark: bool, address: &str) -> io::Result<Window> {
        let browser = Rc::clone(&self.0);
        let (width, height) = size;
        let context = ask(&browser, None, "Target.createBrowserContext", &json!({}))?;
        let target = ask(
            &browser,
            None,
            "Target.createTarget",
            &json!({ "url": "about:blank", "browserContextId": context["browserContextId"], "width": width, "height": height }),
        )?;
        let attached = ask(
            &browser,
            None,
            "Target.attachToTarget",
            &json!({ "targetId": target["targetId"], "flatten": true }),
        )?;
        let session = attached["sessionId"].as_str().unwrap_or_default().to_owned();
        let window = Window { browser, session, target: target["targetId"].clone() };
        window.ask("Page.enable", &json!({}))?;
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600 });
        window.ask("Emulation.setDeviceMetricsOverride", &metrics)?;
        let scheme = if is_dark { "dark" } else { "light" };
        let media = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        window.ask("Emulation.setEmulatedMedia", &media)?;
        window.ask("Page.navigate", &json!({ "url": address }))?;
        Ok(window)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let _ended_already = self.child.kill();
        let _reaped = self.child.wait();
        let _profile_goes_behind_it = &self.scratch;
    }
}

impl Window {
    /// The value of an expression in the page.
    ///
    /// # Errors
    /// What the page throws.
    pub fn eval(&self, expression: &str) -> io::Result<Value> {
        let asked = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", &asked)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(io::Error::other(format!("{expression}: {thrown}"))),
            None => Ok(answer["result"]["value"].clone()),
        }
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// It is not in time. What it throws meanwhile (a page that is loaded anew) counts as false.
    pub fn until(&self, expression: &str) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            if self.eval(expression).is_ok_and(|value| value == Value::Bool(true)) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(25));
        }
        let text = self.eval("document.body.innerText").unwrap_or_default();
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("never true: {expression}; the page: {text}")))
    }

    /// Types text where the cursor is, after `selector` was clicked.
    ///
    /// # Errors
    /// There is nothing of that selector.
    pub fn type_into(&self, selector: &str, text: &str) -> io::Result<()> {
        self.eval(&format!("document.querySelector({}).focus()", json!(selector)))?;
        self.ask("Input.insertText", &json!({ "text": text })).map(|_| ())
    }

    /// Presses Enter.
    ///
    /// # Errors
    /// The browser's words.
    pub fn press_enter(&self) -> io::Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let key = json!({ "type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r" });
            self.ask("Input.dispatchKeyEvent", &key)?;
        }
        Ok(())
    }

    /// Clicks what the selector finds first.
    ///
    /// # Errors
    /// There is nothing of that selector.
    pub fn click(&self, selector: &str) -> io::Result<()> {
        self.eval(&format!("document.querySelector({}).click()", json!(selector))).map(|_| ())
    }

    /// Loads the page anew.
    ///
    /// # Errors
    /// The browser's words.
    pub fn reload(&self) -> io::Result<()> {
        self.ask("Page.reload", &json!({})).map(|_| ())
    }

    /// Closes it, as who has seen enough does.
    ///
    /// # Errors
    /// The browser's words.
    pub fn close(self) -> io::Result<()> {
        ask(&self.browser, None, "Target.closeTarget", &json!({ "targetId": self.target })).map(|_| ())
    }

    /// Takes a picture, into the folder that `RINGWAY_PICTURES` names if there is one, and says how many bytes it has: an empty
    /// page has few.
    ///
    /// # Errors
    /// The browser's words, or the file's.
    pub fn picture(&self, name: &str) -> io::Result<usize> {
        let taken = self.ask("Page.captureScreenshot", &json!({ "format": "png" }))?;
        let bytes = from_base64(taken["data"].as_str().unwrap_or_default());
        if let Some(folder) = std::env::var_os(PICTURES).map(PathBuf::from) {
            std::fs::write(Path::new(&folder).join(format!("{name}.png")), &bytes)?;
        }
        Ok(bytes.len())
    }

    fn ask(&self, method: &str, parameters: &Value) -> io::Result<Value> {
        ask(&self.browser, Some(&self.session), method, parameters)
    }
}

fn ask(
    browser: &RefCell<Inner>,
    session: Option<&str>,
    method: &str,
    parameters: &Value,
) -> io::Result<Value> {
    let browser = &mut *browser.borrow_mut();
    browser.asked += 1;
    let mut command = json!({ "id": browser.asked, "method": method, "params": parameters });
    if let Some(session) = session {
        command["sessionId"] = json!(session);
    }
    browser.commands.write_all(command.to_string().as_bytes())?;
    browser.commands.write_all(&[0])?;
    browser.commands.flush()?;
    let until = Instant::now() + PATIENCE;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let answer = browser.answers.recv_timeout(left);
        let answer = answer.map_err(|_silence| io::Error::new(io::ErrorKind::TimedOut, method.to_owned()))?;
        if answer["id"] != json!(browser.asked) {
            continue;
        }
        return match answer.get("error") {
            Some(error) => Err(io::Error::other(format!("{method}: {error}"))),
            None => Ok(answer["result"].clone()),
        };
    }
}

/// Bytes from the browser's base64, which is whole and plain.
fn from_base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let values: Vec<u8> = text.bytes().map_while(value).collect();
    let triple = |four: &[u8]| {
        let bits =
            four.iter().enumerate().fold(0_u32, |bits, (at, six)| bits | u32::from(*six) << (18 - 6 * at));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    values.chunks(4).flat_map(triple).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read() {
        let is = |text: &str, bytes: &[u8]| assert_eq!(from_base64(text), bytes, "{text}");
        is("", b"");
        is("Zg==", b"f");
        is("Zm8=", b"fo");
        is("Zm9v", b"foo");
        is("/+8BAg==", &[255, 239, 1, 2]);
    }

    #[test]
    fn two_windows_know_nothing_of_each_other() {
        let Some(browser) = Browser::start().expect("it runs") else {
            eprintln!("SKIPPED: there is no Chromium (Debian's package chromium)");
            return;
        };
        let page = "data:text/html,<input id=a><p>hello</p>";
        let (one, two) = (browser.window((800, 600), false, page), browser.window((400, 700), true, page));
        let (one, two) = (one.expect("a window"), two.expect("a window"));
        for window in [&one, &two] {
            window.until("document.querySelector('#a') !== null").expect("it is loaded");
        }
        one.type_into("#a", "Zeile").expect("there is one");
        one.until("document.querySelector('#a').value === 'Zeile'").expect("typed");
        assert_eq!(two.eval("document.querySelector('#a').value").expect("a page"), json!(""));
        assert_eq!(
            two.eval("matchMedia('(prefers-color-scheme: dark)').matches").expect("a page"),
            json!(true)
        );
        assert_eq!(one.eval("innerWidth").expect("a page"), json!(800));
        assert!(one.eval("nonsense()").is_err());
        assert!(one.picture("window").expect("a picture") > 1_000);
    }
}
