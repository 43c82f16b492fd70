//! `If` (RFC 4918 section 10.4): lists of conditions on the states of resources. One list that holds is enough.

use super::{Invalid, Reference, is_uri};
use ringway_http::etag::EntityTag;

/// Most conditions of a request.
pub const CONDITIONS_MAX: usize = 128;

/// The whole field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'a> {
    /// The lists, in order; at least one.
    pub lists: Vec<List<'a>>,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// The resource they are about; `None` for the one that is asked.
    pub resource: Option<Reference<'a>>,
    /// At least one.
    pub conditions: Vec<Condition<'a>>,
}

/// One condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition<'a> {
    /// Whether it must not hold.
    pub is_negated: bool,
    /// What is compared.
    pub state: State<'a>,
}

/// A state of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// It is locked with this token.
    Token(&'a str),
    /// It has this entity tag.
    Tag(EntityTag<'a>),
}

impl<'a> Conditions<'a> {
    /// Reads the field's value.
    ///
    /// # Errors
    /// [`Invalid`] for what the grammar does not allow, and beyond [`CONDITIONS_MAX`].
    pub fn read(value: &'a [u8]) -> Result<Self, Invalid> {
        let mut reader = Reader { rest: value, left: CONDITIONS_MAX };
        let mut lists = Vec::new();
        reader.skip_space();
        let is_tagged = reader.rest.first() == Some(&b'<');
        while !reader.rest.is_empty() {
            let resource = if is_tagged { Some(Reference::read(reader.bracketed()?)?) } else { None };
            let before = lists.len();
            reader.skip_space();
            while reader.take(b"(") {
                lists.push(List { resource, conditions: reader.conditions()? });
                reader.skip_space();
            }
            if lists.len() == before {
                return Err(Invalid);
            }
        }
        if lists.is_empty() { Err(Invalid) } else { Ok(Self { lists }) }
    }

    /// Whether one of the lists holds; `holds` says of a state whether a resource is in it, the one that is asked where there
    /// is no reference.
    pub fn evaluate(&self, mut holds: impl FnMut(Option<&Reference<'a>>, &State<'a>) -> bool) -> bool {
        self.lists.iter().any(|list| {
            list.conditions
                .iter()
                .all(|condition| holds(list.resource.as_ref(), &condition.state) != condition.is_negated)
        })
    }

    /// The tokens in it. Whoever names one shows to know it, whatever comes of the conditions.
    pub fn tokens(&self) -> impl Iterator<Item = &'a str> {
        self.lists.iter().flat_map(|list| &list.conditions).filter_map(|condition| match condition.state {
            State::Token(token) => Some(token),
            State::Tag(_) => None,
        })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    left: usize,
}

impl<'a> Reader<'a> {
    fn skip_space(&mut self) {
        while let [b' ' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn take(&mut self, word: &[u8]) -> bool {
        let Some((front, rest)) = self.rest.split_at_checked(word.len()) else { return false };
        let is_there = front.eq_ignore_ascii_case(word);
        if is_there {
            self.rest = rest;
        }
        is_there
    }

    fn until(&mut self, end: u8) -> Result<&'a [u8], Invalid> {
        let at = self.rest.iter().position(|byte| *byte == end).ok_or(Invalid)?;
        let (front, rest) = self.rest.split_at(at);
        self.rest = &rest[1..];
        Ok(front)
    }

    fn bracketed(&mut self) -> Result<&'a [u8], Invalid> {
        if self.take(b"<") { self.until(b'>') } else { Err(Invalid) }
    }

    /// What follows an opening parenthesis, to the closing one.
    fn conditions(&mut self) -> Result<Vec<Condition<'a>>, Invalid> {
        let mut conditions = Vec::new();
        loop {
            self.skip_space();
            if self.take(b")") {
                break;
            }
            self.left = self.left.checked_sub(1).ok_or(Invalid)?;
            let is_negated = self.take(b"Not");
            self.skip_space();
            conditions.push(Condition { is_negated, state: self.state()? });
        }
        if conditions.is_empty() { Err(Invalid) } else { Ok(conditions) }
    }

    fn state(&mut self) -> Result<State<'a>, Invalid> {
        if self.take(b"[") {
            self.skip_space();
            let weak = self.rest.starts_with(b"W/");
            if weak {
                self.rest = &self.rest[2..];
            }
            // A tag may hold the bracket that ends it; and spaces, as in the RFC's own examples.
            if !self.take(b"\"") {
                return Err(Invalid);
            }
            let opaque = self.until(b'"')?;
            self.skip_space();
            return if self.take(b"]") { Ok(State::Tag(EntityTag { weak, opaque })) } else { Err(Invalid) };
        }
        let token = self.bracketed()?;
        if !is_uri(token) {
            return Err(Invalid);
        }
        str::from_utf8(token).map(State::Token).map_err(|_no_text| Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What was read, in one line.
    fn read(value: &str) -> Result<String, Invalid> {
        let conditions = Conditions::read(value.as_bytes())?;
        let state = |condition: &Condition<'_>| {
            let not = if condition.is_negated { "!" } else { "" };
            match condition.state {
                State::Token(token) => format!("{not}{token}"),
                State::Tag(tag) => {
                    let weak = if tag.weak { "W/" } else { "" };
                    format!("{not}{weak}[{}]", String::from_utf8_lossy(tag.opaque))
                }
            }
        };
        let list = |list: &List<'_>| {
            let path = list.resource.map(|one| String::from_utf8(one.normal_path().unwrap()).unwrap());
            let states: Vec<String> = list.conditions.iter().map(state).collect();
            format!("{}({})", path.unwrap_or_default(), states.join(" "))
        };
        Ok(conditions.lists.iter().map(list).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn the_examples_of_the_rfc_are_read() {
        for (value, wanted) in [
            (
                "(<urn:uuid:1> [\"I am an ETag\"]) ([\"I am another ETag\"])",
                Ok("(urn:uuid:1 [I am an ETag]) ([I am another ETag])"),
            ),
            ("(<urn:uuid:1> [\"an-ETag\"]) ([\"another\"])", Ok("(urn:uuid:1 [an-ETag]) ([another])")),
            ("(Not <urn:uuid:1> <urn:uuid:2>)", Ok("(!urn:uuid:1 urn:uuid:2)")),
            ("(<urn:uuid:1>) (Not <DAV:no-lock>)", Ok("(urn:uuid:1) (!DAV:no-lock)")),
            (
                "</resource1> (<urn:uuid:1> [W/\"A weak\"]) ([\"strong\"])",
                Ok("/resource1(urn:uuid:1 W/[A weak]) /resource1([strong])"),
            ),
            (
                "</resource1>\t(<urn:uuid:1>[W/\"A-weak\"]) ([\"s]trong\"])",
                Ok("/resource1(urn:uuid:1 W/[A-weak]) /resource1([s]trong])"),
            ),
            (
                "<http://www.example.com/specs/> (<urn:uuid:1>) </other>(Not[\"x\"])",
                Ok("/specs/(urn:uuid:1) /other(![x])"),
            ),
        ] {
            assert_eq!(read(value), wanted.map(str::to_owned), "{value}");
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        for value in [
            "",
            " ",
            "()",
            "(",
            "(<urn:a>",
            "(<urn:a>) x",
            "<urn:a>",
            "</a>",
            "</a> </b> (<urn:a>)",
            "(<urn:a>) </a> (<urn:b>)",
            "(<a>)",
            "(urn:a)",
            "(Not)",
            "(Not Not <urn:a>)",
            "([x])",
            "([\"x\")",
            "([\"x\"y])",
            "(<urn:a>))",
            "<>(<urn:a>)",
        ] {
            assert_eq!(read(value), Err(Invalid), "{value}");
        }
    }

    #[test]
    fn conditions_are_counted() {
        let many = |count: usize| format!("({})", "<urn:a> ".repeat(count));
        assert!(read(&many(CONDITIONS_MAX)).is_ok());
        assert_eq!(read(&many(CONDITIONS_MAX + 1)), Err(Invalid));
    }

    #[test]
    fn one_list_that_holds_is_enough() {
        let holds = |value: &str| {
            Conditions::read(value.as_bytes()).unwrap().evaluate(|_, state| *state == State::Token("urn:yes"))
        };
        assert!(holds("(<urn:yes>)") && holds("(<urn:no>) (<urn:yes>)") && holds("(Not <urn:no> <urn:yes>)"));
        assert!(!holds("(<urn:yes> <urn:no>)") && !holds("(Not <urn:yes>)") && !holds("([\"urn:yes\"])"));
        let conditions = Conditions::read(b"(<urn:a> [\"t\"]) (Not <urn:b>)").unwrap();
        assert_eq!(conditions.tokens().collect::<Vec<_>>(), ["urn:a", "urn:b"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn any_value_is_survived(value in "[()<>\\[\\]\"W/Notab: ]{0,40}") {
            if let Ok(conditions) = Conditions::read(value.as_bytes()) {
                prop_assert!(!conditions.lists.is_empty());
                prop_assert!(conditions.lists.iter().all(|list| !list.conditions.is_empty()));
                prop_assert!(conditions.lists.iter().all(|list| list.resource.is_some()) || conditions.lists.iter().all(|list| list.resource.is_none()));
            }
        }
    }
}
