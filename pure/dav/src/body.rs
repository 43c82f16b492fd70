//! The XML bodies of PROPFIND, PROPPATCH and LOCK (RFC 4918 sections 9.1, 9.2, 9.10 and 14).

use crate::name::Name;
use crate::xml::{self, Malformed, elements, is_dav, name_of};
use roxmltree::Node;
use std::fmt;

/// Largest XML body, in bytes.
pub const XML_BYTES_MAX: usize = 256 * 1024;

/// Most properties that a request names.
pub const NAMES_MAX: usize = 1024;

/// Longest `owner` of a lock, in bytes.
pub const OWNER_BYTES_MAX: usize = 4096;

/// Why a body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// No XML, not well-formed, with a document type, or too large as a tree: 400.
    Malformed,
    /// XML that does not say what this method needs: 422 (RFC 4918 section 11.2).
    Meaningless,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the body is no well-formed XML within the limits",
            Self::Meaningless => "the body does not say what this method needs",
        })
    }
}

impl std::error::Error for BodyError {}

impl From<Malformed> for BodyError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What PROPFIND asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PropFind {
    /// All that there is, and these of what is not told otherwise.
    All {
        /// Named by `include`.
        include: Vec<Name>,
    },
    /// The names of all.
    Names,
    /// These.
    These(Vec<Name>),
}

impl PropFind {
    /// Reads the body of a PROPFIND; an empty one asks for all.
    ///
    /// # Errors
    /// [`BodyError`].
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        if body.is_empty() {
            return Ok(Self::All { include: Vec::new() });
        }
        xml::with_root(body, |root| Ok(if is_dav(root, "propfind") { Self::of(root)? } else { None }))?
            .ok_or(BodyError::Malformed)
    }

    fn of(root: Node<'_, '_>) -> Result<Option<Self>, Malformed> {
        for element in elements(root) {
            if is_dav(element, "allprop") {
                let include = elements(root).find(|node| is_dav(*node, "include"));
                let include = include.map(names_in).transpose()?.unwrap_or_default();
                return Ok(Some(Self::All { include }));
            }
            if is_dav(element, "propname") {
                return Ok(Some(Self::Names));
            }
            if is_dav(element, "prop") {
                return Ok(Some(Self::These(names_in(element)?)));
            }
        }
        Ok(None)
    }
}

fn names_in(element: Node<'_, '_>) -> Result<Vec<Name>, Malformed> {
    let mut names = Vec::new();
    for node in elements(element) {
        let name = name_of(node)?;
        // Asked for twice, told once.
        if !names.contains(&name) {
            names.push(name);
        }
        if names.len() > NAMES_MAX {
            return Err(Malformed);
        }
    }
    Ok(names)
}

/// One instruction of PROPPATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Give a property this value.
    Set {
        /// Its name.
        name: Name,
        /// The element with all that is in it, as a text that stands alone.
        element: Box<[u8]>,
    },
    /// Take a property away.
    Remove(Name),
}

impl Update {
    /// The property it is about.
    #[must_use]
    pub fn name(&self) -> &Name {
        match self {
            Self::Set { name, .. } | Self::Remove(name) => name,
        }
    }

    /// Reads the body of a PROPPATCH: its instructions in order.
    ///
    /// # Errors
    /// [`BodyError`].
    pub fn read(body: &[u8]) -> Result<Vec<Self>, BodyError> {
        let updates = xml::with_root(body, |root| {
            if is_dav(root, "propertyupdate") { updates(root).map(Some) } else { Ok(None) }
        })?;
        updates.filter(|updates| !updates.is_empty()).ok_or(BodyError::Malformed)
    }
}

fn updates(root: Node<'_, '_>) -> Result<Vec<Update>, Malformed> {
    let mut updates = Vec::new();
    for instruction in elements(root) {
        let sets = is_dav(instruction, "set");
        if !sets && !is_dav(instruction, "remove") {
            continue;
        }
        let properties = elements(instruction).filter(|node| is_dav(*node, "prop")).flat_map(elements);
        for property in properties {
            let name = name_of(property)?;
            updates.push(if sets {
                let mut element = Vec::new();
                xml::write_alone(&mut element, property);
                Update::Set { name, element: element.into() }
            } else {
                Update::Remove(name)
            });
            if updates.len() > NAMES_MAX {
                return Err(Malformed);
            }
        }
    }
    Ok(updates)
}

/// What LOCK asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// Whether the lock shall be shared.
    pub is_shared: bool,
    /// What is in `owner`, as a text that stands alone; empty for nothing.
    pub owner: Box<[u8]>,
}

impl LockInfo {
    /// Reads the body of a LOCK that is not a refresh.
    ///
    /// # Errors
    /// [`BodyError`].
    pub fn read(body: &[u8]) -> Result<Self, BodyError> {
        let info = xml::with_root(body, |root| {
            if !is_dav(root, "lockinfo") {
                return Ok(None);
            }
            let child = |local: &str| elements(root).find(|node| is_dav(*node, local));
            let has = |node: Node<'_, '_>, local: &str| elements(node).any(|node| is_dav(node, local));
            let is_write = child("locktype").is_some_and(|kind| has(kind, "write"));
            let scope = child("lockscope");
            let is = |local: &str| scope.is_some_and(|scope| has(scope, local));
            if !is_write || is("shared") == is("exclusive") {
                return Ok(None);
            }
            let mut owner = Vec::new();
            if let Some(node) = child("owner") {
                xml::write_content(&mut owner, node);
            }
            if owner.len() > OWNER_BYTES_MAX {
                return Err(Malformed);
            }
            Ok(Some(Self { is_shared: is("shared"), owner: owner.into() }))
        })?;
        info.ok_or(BodyError::Meaningless)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn find(body: &str) -> Result<PropFind, BodyError> {
        PropFind::read(body.as_bytes())
    }

    fn propfind(inner: &str) -> Result<PropFind, BodyError> {
        find(&format!("<?xml version=\"1.0\"?><D:propfind xmlns:D=\"DAV:\">{inner}</D:propfind>"))
    }

    #[test]
    fn propfind_asks_for_all_names_or_these() {
        assert_eq!(find(""), Ok(PropFind::All { include: vec![] }));
        assert_eq!(propfind("<D:allprop/>"), Ok(PropFind::All { include: vec![] }));
        let include = vec![Name::dav("supportedlock"), Name::new("urn:x", "y")];
        let asked = propfind("<D:include><D:supportedlock/><y xmlns='urn:x'/></D:include><D:allprop/>");
        assert_eq!(asked, Ok(PropFind::All { include }));
        assert_eq!(propfind("<x/><D:propname/>"), Ok(PropFind::Names));
        let these = vec![Name::dav("getetag"), Name::new("", "plain")];
        assert_eq!(propfind("<D:prop><D:getetag/><plain/><D:getetag/></D:prop>"), Ok(PropFind::These(these)));
        assert_eq!(propfind("<D:prop/>"), Ok(PropFind::These(vec![])));
    }

    #[test]
    fn what_is_no_propfind_is_refused() {
        for inner in
            ["", "text", "<D:prop>", "<D:prop><bar:foo xmlns:bar=\"\"/></D:prop>", "<D:prop><n:a/></D:prop>"]
        {
            assert_eq!(propfind(inner), Err(BodyError::Malformed), "{inner}");
        }
        assert_eq!(find("<propfind><prop/></propfind>"), Err(BodyError::Malformed), "another namespace");
        assert_eq!(find("<D:foo xmlns:D=\"DAV:\"/>"), Err(BodyError::Malformed));
        assert_eq!(find("foo"), Err(BodyError::Malformed));
        assert_eq!(PropFind::read(b"\xff\xff"), Err(BodyError::Malformed));
    }

    #[test]
    fn nothing_expands_and_nothing_is_fetched() {
        let bomb = "<!DOCTYPE a [<!ENTITY b \"cccccccccc\"><!ENTITY d \"&b;&b;&b;&b;\">]>\
                    <D:propfind xmlns:D=\"DAV:\"><D:prop><x>&d;</x></D:prop></D:propfind>";
        let outside = "<!DOCTYPE a SYSTEM \"file:///etc/passwd\"><D:propfind xmlns:D=\"DAV:\"><D:allprop/></D:propfind>";
        let unknown = "<D:propfind xmlns:D=\"DAV:\"><D:allprop/>&x;</D:propfind>";
        for body in [bomb, outside, unknown] {
            assert_eq!(find(body), Err(BodyError::Malformed), "{body}");
        }
    }

    #[test]
    fn depth_and_number_are_bounded() {
        let nested = |depth: usize| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(propfind(&format!("<D:allprop/>{}", nested(60))).is_ok());
        assert_eq!(propfind(&format!("<D:allprop/>{}", nested(70))), Err(BodyError::Malformed));
        assert_eq!(propfind(&nested(100_000)), Err(BodyError::Malformed));
        let many: String = (0..=NAMES_MAX).map(|number| format!("<p{number}/>")).collect();
        assert_eq!(propfind(&format!("<D:prop>{many}</D:prop>")), Err(BodyError::Malformed));
        let long = "x".repeat(2000);
        assert_eq!(propfind(&format!("<D:prop><{long}/></D:prop>")), Err(BodyError::Malformed));
    }

    #[test]
    fn utf_16_is_read_too() {
        let text = "<D:propfind xmlns:D=\"DAV:\"><D:propname/></D:propfind>";
        let little: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> =
            [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_be_bytes).collect();
        assert_eq!(
            (PropFind::read(&little), PropFind::read(&big)),
            (Ok(PropFind::Names), Ok(PropFind::Names))
        );
        assert_eq!(PropFind::read(&little[..little.len() - 1]), Err(BodyError::Malformed));
    }

    fn patch(inner: &str) -> Result<Vec<Update>, BodyError> {
        let body = format!("<D:propertyupdate xmlns:D=\"DAV:\" xmlns:n=\"urn:n\">{inner}</D:propertyupdate>");
        Update::read(body.as_bytes())
    }

    fn set(inner: &str) -> String {
        let updates = patch(&format!("<D:set><D:prop>{inner}</D:prop></D:set>")).unwrap();
        let [Update::Set { element, .. }] = &updates[..] else { panic!("{updates:?}") };
        String::from_utf8(element.to_vec()).unwrap()
    }

    #[test]
    fn proppatch_keeps_the_order_of_its_instructions() {
        let updates = patch(
            "<D:set><D:prop><n:a>1</n:a></D:prop></D:set><D:remove><D:prop><n:b/><c/></D:prop></D:remove>\
             <x/><D:set><D:prop><n:b/></D:prop></D:set>",
        )
        .unwrap();
        let names: Vec<String> = updates.iter().map(|update| update.name().to_string()).collect();
        assert_eq!(names, ["{urn:n}a", "{urn:n}b", "{}c", "{urn:n}b"]);
        assert!(matches!(updates[1], Update::Remove(_)) && matches!(updates[3], Update::Set { .. }));
        for bad in ["", "<D:set/>", "<D:set><D:prop/></D:set>", "<D:set><D:prop><q:a/></D:prop></D:set>"] {
            assert_eq!(patch(bad), Err(BodyError::Malformed), "{bad}");
        }
    }

    #[test]
    fn values_stand_alone() {
        assert_eq!(set("<n:a>1 &lt; 2</n:a>"), "<a xmlns=\"urn:n\">1 &lt; 2</a>");
        assert_eq!(set("<a/>"), "<a xmlns=\"\"/>");
        assert_eq!(
            set("<n:a n:x='1' y='&quot;2' xml:lang='de'>t<b><n:c/></b></n:a>"),
            "<a xmlns=\"urn:n\" xmlns:a0=\"urn:n\" a0:x=\"1\" y=\"&quot;2\" xml:lang=\"de\">t<b xmlns=\"\">\
             <c xmlns=\"urn:n\"/></b></a>"
        );
        assert_eq!(
            set("<n:a>\u{10000}&#x10001;<![CDATA[<x>]]><!-- no --></n:a>"),
            "<a xmlns=\"urn:n\">\u{10000}\u{10001}&lt;x&gt;</a>"
        );
    }

    #[test]
    fn a_language_that_is_said_around_it_is_kept() {
        let updates = patch("<D:set><D:prop xml:lang='en'><n:a>x<n:b/></n:a></D:prop></D:set>").unwrap();
        let [Update::Set { element, .. }] = &updates[..] else { panic!("{updates:?}") };
        assert_eq!(
            String::from_utf8(element.to_vec()).unwrap(),
            "<a xmlns=\"urn:n\" xml:lang=\"en\">x<b xmlns=\"urn:n\"/></a>"
        );
    }

    fn lock(inner: &str) -> Result<LockInfo, BodyError> {
        LockInfo::read(format!("<D:lockinfo xmlns:D=\"DAV:\">{inner}</D:lockinfo>").as_bytes())
    }

    #[test]
    fn locks_are_of_write_and_exclusive_or_shared() {
        let write = "<D:locktype><D:write/></D:locktype>";
        let owner = "<D:owner><D:href>http://x/</D:href></D:owner>";
        let exclusive = lock(&format!("<D:lockscope><D:exclusive/></D:lockscope>{write}{owner}")).unwrap();
        assert!(!exclusive.is_shared);
        assert_eq!(&*exclusive.owner, b"<href xmlns=\"DAV:\">http://x/</href>");
        let shared = lock(&format!("{write}<D:lockscope><D:shared/></D:lockscope>")).unwrap();
        assert_eq!(shared, LockInfo { is_shared: true, owner: Box::default() });
        for bad in ["", write, "<D:lockscope><D:shared/></D:lockscope>"] {
            assert_eq!(lock(bad), Err(BodyError::Meaningless), "{bad}");
        }
        let both = format!("{write}<D:lockscope><D:shared/><D:exclusive/></D:lockscope>");
        assert_eq!(lock(&both), Err(BodyError::Meaningless));
        let long =
            format!("{write}<D:lockscope><D:shared/></D:lockscope><D:owner>{}</D:owner>", "x".repeat(5000));
        assert_eq!(lock(&long), Err(BodyError::Malformed));
        assert_eq!(LockInfo::read(b""), Err(BodyError::Malformed));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_reads_as_the_same(text in "[ -~\\t\\n\u{e9}\u{10000}]{0,20}", value in "[a-z<&\"']{0,8}") {
            let mut source = Vec::new();
            crate::text::escape(&mut source, &text);
            let mut attribute = Vec::new();
            crate::text::escape(&mut attribute, &value);
            let (text, value) = (String::from_utf8(source).unwrap(), String::from_utf8(attribute).unwrap());
            let once = set(&format!("<n:a q=\"{value}\">{text}<n:b/></n:a>"));
            prop_assert_eq!(set(&once), once);
        }

        #[test]
        fn any_bytes_are_survived(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = (PropFind::read(&body), Update::read(&body), LockInfo::read(&body));
        }
    }
}
