//! XML bodies as trees within limits, and elements written so that they stand alone.

use crate::name::{NAME_BYTES_MAX, Name};
use crate::text::escape;
use roxmltree::{Document, Node, ParsingOptions};

/// Most nodes (elements, texts, comments) of a body.
const NODES_MAX: u32 = 8192;

/// How deep elements may lie in each other.
const DEPTH_MAX: usize = 64;

/// The namespace of `xml:lang`.
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Why a body cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Reads a body. The bytes are UTF-8, or UTF-16 with its mark (RFC 3023 leaves a server no others to read).
pub(crate) fn with_root<T>(
    bytes: &[u8],
    read: impl FnOnce(Node<'_, '_>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let text = decode(bytes)?;
    if is_too_deep(&text) {
        return Err(Malformed);
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, ..ParsingOptions::default() };
    let document = Document::parse_with_options(&text, options).map_err(|_malformed| Malformed)?;
    // A prefix cannot be bound to nothing (Namespaces in XML 1.0 section 2.2).
    let is_unbound = |node: Node<'_, '_>| {
        node.is_element() && node.namespaces().any(|space| space.name().is_some() && space.uri().is_empty())
    };
    if document.root().descendants().any(is_unbound) {
        return Err(Malformed);
    }
    read(document.root_element())
}

/// The elements in an element.
pub(crate) fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

/// Whether an element is one of WebDAV's, of that name.
pub(crate) fn is_dav(node: Node<'_, '_>, local: &str) -> bool {
    node.tag_name().namespace() == Some(crate::name::DAV) && node.tag_name().name() == local
}

/// The element's name.
pub(crate) fn name_of(node: Node<'_, '_>) -> Result<Name, Malformed> {
    let (namespace, local) = (node.tag_name().namespace().unwrap_or(""), node.tag_name().name());
    if namespace.len() + local.len() > NAME_BYTES_MAX {
        return Err(Malformed);
    }
    Ok(Name::new(namespace, local))
}

/// Writes an element, with all that is in it, as a text that stands alone: every namespace is declared where it is used, and
/// a language that was said of what is around it is said of it.
pub(crate) fn write_alone(out: &mut Vec<u8>, node: Node<'_, '_>) {
    let language = node.ancestors().find_map(|node| node.attribute((XML, "lang")));
    write(out, node, language.filter(|_| node.attribute((XML, "lang")).is_none()));
}

/// Writes what is in an element, as texts that stand alone.
pub(crate) fn write_content(out: &mut Vec<u8>, node: Node<'_, '_>) {
    node.children().for_each(|child| write(out, child, None));
}

/// Trees are at most [`DEPTH_MAX`] deep, so this ends soon.
fn write(out: &mut Vec<u8>, node: Node<'_, '_>, language: Option<&str>) {
    if let Some(text) = node.text().filter(|_| node.is_text()) {
        return escape(out, text);
    }
    if !node.is_element() {
        return;
    }
    let (namespace, local) = (node.tag_name().namespace().unwrap_or(""), node.tag_name().name());
    out.push(b'<');
    out.extend_from_slice(local.as_bytes());
    out.extend_from_slice(b" xmlns=\"");
    escape(out, namespace);
    out.push(b'"');
    if let Some(language) = language {
        attribute(out, "xml:lang", language);
    }
    for (number, one) in node.attributes().enumerate() {
        match one.namespace() {
            None | Some("") => attribute(out, one.name(), one.value()),
            Some(XML) => attribute(out, &format!("xml:{}", one.name()), one.value()),
            Some(space) => {
                attribute(out, &format!("xmlns:a{number}"), space);
                attribute(out, &format!("a{number}:{}", one.name()), one.value());
            }
        }
    }
    if !node.has_children() {
        out.extend_from_slice(b"/>");
        return;
    }
    out.push(b'>');
    write_content(out, node);
    out.extend_from_slice(b"</");
    out.extend_from_slice(local.as_bytes());
    out.push(b'>');
}

fn attribute(out: &mut Vec<u8>, name: &str, value: &str) {
    out.push(b' ');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    escape(out, value);
    out.push(b'"');
}

fn decode(bytes: &[u8]) -> Result<String, Malformed> {
    let units = |order: fn([u8; 2]) -> u16, bytes: &[u8]| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| order(*pair)).collect();
        if rest.is_empty() { String::from_utf16(&units).map_err(|_odd| Malformed) } else { Err(Malformed) }
    };
    match bytes {
        [0xfe, 0xff, rest @ ..] => units(u16::from_be_bytes, rest),
        [0xff, 0xfe, rest @ ..] => units(u16::from_le_bytes, rest),
        [0xef, 0xbb, 0xbf, rest @ ..] | rest => {
            str::from_utf8(rest).map(str::to_owned).map_err(|_no_text| Malformed)
        }
    }
}

/// Whether elements may lie too deep in each other: an estimate that never falls short, made before anything is read, so that
/// no reader's stack depends on what a peer sends.
fn is_too_deep(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate() {
        match (byte, bytes.get(at + 1)) {
            (b'<', Some(b'/')) => depth = depth.saturating_sub(1),
            (b'<', Some(b'!' | b'?')) => {}
            (b'<', _) => depth += 1,
            (b'/', Some(b'>')) => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}
