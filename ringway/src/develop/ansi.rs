//! Terminal text for browsers: escaped, with the colours that escape sequences (ECMA-48, SGR) give it as spans of HTML.

use std::fmt::Write;

/// Most bytes of a text that are shown; of a longer one the rest is left out.
pub(super) const TEXT_BYTES_MAX: usize = 512 * 1024;

/// What a run of text looks like.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    is_bold: bool,
    is_dim: bool,
    is_underlined: bool,
    /// One of the sixteen colours.
    colour: Option<u8>,
}

/// The text as HTML for a `pre` element. Classes are `b` (bold), `d` (dim), `u` (underlined) and `c0` to `c15`.
pub(super) fn to_html(text: &str) -> String {
    let mut html = String::with_capacity(text.len() * 5 / 4);
    let mut style = Style::default();
    let mut rest = shortened(text);
    while let Some(at) = rest.find('\x1b') {
        write_run(&mut html, &rest[..at], style);
        let (codes, behind) = sequence(&rest[at + 1..]);
        if let Some(codes) = codes {
            style = style.with(codes);
        }
        rest = behind;
    }
    write_run(&mut html, rest, style);
    html
}

/// The text without its escape sequences.
pub(super) fn to_plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = shortened(text);
    while let Some(at) = rest.find('\x1b') {
        plain.push_str(&rest[..at]);
        rest = sequence(&rest[at + 1..]).1;
    }
    plain.push_str(rest);
    plain
}

/// Writes text so that a browser shows it and obeys nothing in it, in elements and in quoted attributes.
pub(super) fn escape(html: &mut String, text: &str) {
    for letter in text.chars() {
        match letter {
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '&' => html.push_str("&amp;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            '\n' | '\t' => html.push(letter),
            '\r' => {}
            // What is left of sequences that are none, and other controls, is shown as a mark.
            letter if letter.is_control() => html.push('\u{fffd}'),
            letter => html.push(letter),
        }
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(TEXT_BYTES_MAX)]
}

/// Splits what follows an ESC into the codes of a style, if that is what it is, and the text behind the sequence.
fn sequence(text: &str) -> (Option<&str>, &str) {
    // An operating system command, such as a link's address: up to BEL or ESC backslash.
    if let Some(command) = text.strip_prefix(']') {
        let bell = command.find('\x07').map(|at| (at, 1));
        let end = command.find("\x1b\\").map(|at| (at, 2));
        let first = bell.into_iter().chain(end).min();
        return (None, first.map_or("", |(at, len)| &command[at + len..]));
    }
    let Some(control) = text.strip_prefix('[') else {
        // Any other sequence is one letter long.
        return (None, text.strip_prefix(|letter: char| letter.is_ascii()).unwrap_or(text));
    };
    let Some(end) = control.find(|letter: char| ('@'..='~').contains(&letter)) else { return (None, "") };
    let codes = control[end..].starts_with('m').then_some(&control[..end]);
    (codes, &control[end + 1..])
}

impl Style {
    fn with(mut self, codes: &str) -> Self {
        let mut codes = codes.split(';').map(|code| code.parse::<u8>().unwrap_or(0));
        while let Some(code) = codes.next() {
            match code {
                0 => self = Self::default(),
                1 => self.is_bold = true,
                2 => self.is_dim = true,
                4 => self.is_underlined = true,
                22 => (self.is_bold, self.is_dim) = (false, false),
                24 => self.is_underlined = false,
                30..=37 => self.colour = Some(code - 30),
                90..=97 => self.colour = Some(code - 90 + 8),
                39 => self.colour = None,
                // 256 colours: the first sixteen are these, of the others none is shown. Or red, green, blue.
                38 | 48 => match codes.next() {
                    Some(5) => {
                        let number = codes.next().filter(|_| code == 38);
                        self.colour = number.map_or(self.colour, |number| (number < 16).then_some(number));
                    }
                    Some(2) => drop(codes.nth(2)),
                    _ => {}
                },
                _ => {}
            }
        }
        self
    }
}

fn write_run(html: &mut String, text: &str, style: Style) {
    if text.is_empty() {
        return;
    }
    if style == Style::default() {
        return escape(html, text);
    }
    let mut classes: Vec<String> = Vec::new();
    classes.extend(style.is_bold.then(|| "b".to_owned()));
    classes.extend(style.is_dim.then(|| "d".to_owned()));
    classes.extend(style.is_underlined.then(|| "u".to_owned()));
    classes.extend(style.colour.map(|colour| format!("c{colour}")));
    let _infallible = write!(html, "<span class=\"{}\">", classes.join(" "));
    escape(html, text);
    html.push_str("</span>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_become_spans() {
        let text = "\x1b[0m\x1b[1m\x1b[38;5;9merror[E0425]\x1b[0m\x1b[1m: no `x`\x1b[0m\n \x1b[94m-->\x1b[39m src\x1b[m";
        assert_eq!(
            to_html(text),
            "<span class=\"b c9\">error[E0425]</span><span class=\"b\">: no `x`</span>\n <span class=\"c12\">--&gt;</span> src"
        );
        assert_eq!(to_plain(text), "error[E0425]: no `x`\n --> src");
    }

    #[test]
    fn nothing_in_a_text_is_obeyed() {
        let html = to_html("<script>alert('1')</script> & \"x\"\x1b[31m<b>\x07");
        assert_eq!(
            html,
            "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt; &amp; &quot;x&quot;<span class=\"c1\">&lt;b&gt;\u{fffd}</span>"
        );
    }

    #[test]
    fn sequences_that_are_no_styles_go_and_broken_ones_do_no_harm() {
        assert_eq!(to_plain("a\x1b]8;;http://x\x1b\\link\x1b]8;;\x07b\x1b[2Kc\x1b(d"), "alinkbcd");
        assert_eq!(to_html("a\x1b[38;2;1;2;3;1mb"), "a<span class=\"b\">b</span>");
        assert_eq!(to_html("a\x1b[48;5;9mb"), "ab");
        for broken in ["\x1b", "\x1b[", "\x1b[1", "\x1b]", "\x1b[;;m", "\x1b[999mx", "\x1bé", "\x1b[38;5m"] {
            assert!(!to_html(broken).contains('\x1b'), "{broken:?}");
        }
    }

    #[test]
    fn a_text_of_any_length_is_cut_between_letters() {
        let long = "é".repeat(TEXT_BYTES_MAX);
        assert!(to_html(&long).len() <= TEXT_BYTES_MAX);
    }
}
