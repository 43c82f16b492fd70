//! Tells the code of a Rust file from its comments and literals, line by line.

/// One line of a source file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    /// The line without comments and without what strings and characters contain.
    pub(crate) code: String,
    /// What the comments on the line say, their slashes included.
    pub(crate) comment: String,
}

impl Line {
    /// Whether the line holds `word` as a word of code.
    pub(crate) fn has_word(&self, word: &str) -> bool {
        words(&self.code).any(|(_, found)| found == word)
    }
}

/// The identifiers and keywords in `code`, each with where it starts.
pub(crate) fn words(code: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = code;
    std::iter::from_fn(move || {
        let start = rest.find(is_word_char)?;
        let word = &rest[start..];
        let word = &word[..word.find(|c| !is_word_char(c)).unwrap_or(word.len())];
        rest = &rest[start + word.len()..];
        Some((code.len() - rest.len() - word.len(), word))
    })
}

/// Splits a source file into lines of code and comment.
pub(crate) fn lines(source: &str) -> Vec<Line> {
    let mut lexer = Lexer { rest: source, lines: vec![Line::default()] };
    while !lexer.rest.is_empty() {
        lexer.token();
    }
    lexer.lines
}

struct Lexer<'a> {
    rest: &'a str,
    lines: Vec<Line>,
}

/// Where the characters that are taken go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Code,
    Comment,
    Nowhere,
}

impl Lexer<'_> {
    fn token(&mut self) {
        if self.rest.starts_with("//") {
            let len = self.rest.find('\n').unwrap_or(self.rest.len());
            self.take(len, To::Comment);
        } else if self.rest.starts_with("/*") {
            self.take(block_comment_len(self.rest), To::Comment);
        } else if let Some((open, body)) = string_len(self.rest) {
            self.take(open, To::Code);
            self.take(body, To::Nowhere);
        } else if let Some(len) = character_len(self.rest) {
            self.take(len, To::Nowhere);
        } else {
            // A word is taken whole, so that the `r` of `for"` or the `b` of `grab'` does not look like a prefix.
            let word = self.rest.find(|c| !is_word_char(c)).unwrap_or(self.rest.len());
            let first = self.rest.chars().next().map_or(0, char::len_utf8);
            self.take(word.max(first), To::Code);
        }
    }

    fn take(&mut self, len: usize, to: To) {
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        for c in taken.chars() {
            let line = self.lines.last_mut().expect("there is always a line");
            match to {
                _ if c == '\n' => self.lines.push(Line::default()),
                To::Code => line.code.push(c),
                To::Comment => line.comment.push(c),
                To::Nowhere => {}
            }
        }
    }
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the block comment at the start of `text`; they nest.
fn block_comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest.starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The lengths of the opening (prefix, hashes, quote) and of the remainder of the string at the start of `text`.
fn string_len(text: &str) -> Option<(usize, usize)> {
    let prefix = ["br", "cr", "b", "c", "r", ""].into_iter().find(|prefix| {
        let rest = text.strip_prefix(prefix).unwrap_or("");
        let hashes = if prefix.ends_with('r') { rest.trim_start_matches('#') } else { rest };
        hashes.starts_with('"')
    })?;
    let hashes = text[prefix.len()..].bytes().take_while(|&byte| byte == b'#').count();
    let open = prefix.len() + hashes + 1;
    let body = &text[open..];
    let len = if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        body.find(&close).map_or(body.len(), |at| at + close.len())
    } else {
        quoted_len(body, '"')
    };
    Some((open, len))
}

/// The length of the character or byte literal at the start of `text`; a lifetime is none.
fn character_len(text: &str) -> Option<usize> {
    let open = if text.starts_with("b'") { 2 } else { 1 };
    let body = text.strip_prefix("b'").or_else(|| text.strip_prefix('\''))?;
    let mut chars = body.chars();
    match chars.next()? {
        '\\' => Some(open + quoted_len(body, '\'')),
        first => (chars.next() == Some('\'')).then(|| open + first.len_utf8() + 1),
    }
}

/// The length of a quoted text whose opening quote has been read, closing quote included.
fn quoted_len(body: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in body.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    body.len()
}

#[test]
fn comments_and_literals_are_not_code() {
    let code = |source| lines(source).into_iter().map(|line| line.code).collect::<Vec<_>>().join("|");
    assert_eq!(code("a // unsafe\nb"), "a |b");
    assert_eq!(code("a /* x /* unsafe */ y */ b"), "a  b");
    assert_eq!(code("f(\"unsafe \\\" {\") + g"), "f(\") + g");
    assert_eq!(code("r#\"un\"safe\"# + b\"x\" + c"), "r#\" + b\" + c");
    assert_eq!(code("'\"' + '\\'' + b'\"' + x<'a> + 'é'"), " +  +  + x<'a> + ");
    assert_eq!(code("\"one\ntwo\" three"), "\"| three");
    assert_eq!(code("let r#type = for_r\"x\";"), "let r#type = for_r\";");
    assert_eq!(code("// don't\nfn a<'x>() { 'l: loop {} }"), "|fn a<'x>() { 'l: loop {} }");
}

#[test]
fn comments_keep_their_text_and_their_line() {
    let found = lines("//! Title.\nx(); // why\n/* a\nb */ y();");
    let comments: Vec<&str> = found.iter().map(|line| line.comment.as_str()).collect();
    assert_eq!(comments, ["//! Title.", "// why", "/* a", "b */"]);
    assert_eq!(found[3].code, " y();");
}

#[test]
fn words_are_whole() {
    let line = &lines("forbid(unsafe_code); unsafe { not_unsafe }")[0];
    assert_eq!(words(&line.code).map(|(_, word)| word).filter(|word| *word == "unsafe").count(), 1);
    assert!(line.has_word("unsafe") && !line.has_word("code"));
    assert_eq!(words(" a bc").collect::<Vec<_>>(), [(1, "a"), (3, "bc")]);
}
