//! The dead properties of a resource, and the form they are kept in.

use crate::body::Update;
use crate::name::Name;
use std::fmt;

/// Most dead properties of a resource.
pub const PROPERTIES_MAX: usize = 512;

/// What kept properties begin with: what they are, and the version of their form.
const MARK: &[u8] = b"ringway-dav-properties 1\n";

/// Dead properties by their names. The values are elements as texts that stand alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Properties(Vec<(Name, Box<[u8]>)>);

/// Why properties are not as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertiesError {
    /// More than there may be, in number or bytes.
    TooMany,
    /// What was kept is no list of properties.
    Damaged,
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooMany => "these are more properties than a resource may have",
            Self::Damaged => "what was kept is no list of properties",
        })
    }
}

impl std::error::Error for PropertiesError {}

impl Properties {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, in the order they were first set.
    pub fn names(&self) -> impl Iterator<Item = &Name> {
        self.0.iter().map(|(name, _)| name)
    }

    /// The element of that name.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, element)| &**element)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &[u8])> {
        self.0.iter().map(|(name, element)| (name, &**element))
    }

    /// Follows an instruction. To remove what is not there is done already.
    ///
    /// # Errors
    /// [`PropertiesError::TooMany`] beyond [`PROPERTIES_MAX`].
    pub fn apply(&mut self, update: &Update) -> Result<(), PropertiesError> {
        let name = update.name();
        let place = self.0.iter().position(|(own, _)| own == name);
        match (update, place) {
            (Update::Set { element, .. }, Some(place)) => self.0[place].1.clone_from(element),
            (Update::Set { .. }, None) if self.0.len() >= PROPERTIES_MAX => {
                return Err(PropertiesError::TooMany);
            }
            (Update::Set { element, .. }, None) => self.0.push((name.clone(), element.clone())),
            (Update::Remove(_), Some(place)) => drop(self.0.remove(place)),
            (Update::Remove(_), None) => {}
        }
        Ok(())
    }

    /// The form they are kept in, at most `bytes_max` long.
    ///
    /// # Errors
    /// [`PropertiesError::TooMany`] beyond that.
    pub fn encode(&self, bytes_max: usize) -> Result<Vec<u8>, PropertiesError> {
        let mut out = MARK.to_vec();
        for (name, element) in &self.0 {
            for part in [name.namespace.as_bytes(), name.local.as_bytes(), element] {
                let len = u32::try_from(part.len()).map_err(|_too_long| PropertiesError::TooMany)?;
                out.extend_from_slice(&len.to_be_bytes());
                out.extend_from_slice(part);
            }
        }
        if out.len() > bytes_max { Err(PropertiesError::TooMany) } else { Ok(out) }
    }

    /// Reads what was kept.
    ///
    /// # Errors
    /// [`PropertiesError::Damaged`].
    pub fn decode(bytes: &[u8]) -> Result<Self, PropertiesError> {
        let mut rest = bytes.strip_prefix(MARK).ok_or(PropertiesError::Damaged)?;
        let mut properties = Self::default();
        while !rest.is_empty() {
            let [namespace, local, element] = [part(&mut rest)?, part(&mut rest)?, part(&mut rest)?];
            let text = |bytes| str::from_utf8(bytes).map_err(|_no_text| PropertiesError::Damaged);
            let name = Name::new(text(namespace)?, text(local)?);
            if properties.0.len() >= PROPERTIES_MAX || properties.get(&name).is_some() {
                return Err(PropertiesError::Damaged);
            }
            properties.0.push((name, element.into()));
        }
        Ok(properties)
    }
}

/// Takes a length and so many bytes off the front.
fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], PropertiesError> {
    let (len, behind) = rest.split_first_chunk::<4>().ok_or(PropertiesError::Damaged)?;
    let len = usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX);
    let (part, behind) = behind.split_at_checked(len).ok_or(PropertiesError::Damaged)?;
    *rest = behind;
    Ok(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(name: &str, element: &str) -> Update {
        Update::Set { name: Name::new("urn:x", name), element: element.as_bytes().into() }
    }

    #[test]
    fn instructions_are_followed_in_order() {
        let mut properties = Properties::default();
        for update in [set("a", "1"), set("b", "2"), set("a", "3"), Update::Remove(Name::new("urn:x", "b"))] {
            properties.apply(&update).unwrap();
        }
        properties.apply(&Update::Remove(Name::new("urn:x", "c"))).unwrap();
        assert_eq!(properties.get(&Name::new("urn:x", "a")), Some(&b"3"[..]));
        assert_eq!(properties.names().count(), 1);
        assert_eq!(properties.get(&Name::new("", "a")), None);
    }

    #[test]
    fn there_are_only_so_many() {
        let mut properties = Properties::default();
        for number in 0..PROPERTIES_MAX {
            properties.apply(&set(&format!("p{number}"), "x")).unwrap();
        }
        assert_eq!(properties.apply(&set("one-more", "x")), Err(PropertiesError::TooMany));
        properties.apply(&set("p7", "y")).unwrap();
        assert_eq!(properties.encode(100), Err(PropertiesError::TooMany));
        let kept = properties.encode(1 << 20).unwrap();
        assert_eq!(Properties::decode(&kept), Ok(properties));
    }

    #[test]
    fn damage_is_seen() {
        let mut properties = Properties::default();
        properties.apply(&set("a", "<a/>")).unwrap();
        let kept = properties.encode(1024).unwrap();
        for end in MARK.len() + 1..kept.len() {
            assert_eq!(Properties::decode(&kept[..end]), Err(PropertiesError::Damaged), "{end}");
        }
        let twice = [&kept[..], &kept[MARK.len()..]].concat();
        assert_eq!(Properties::decode(&twice), Err(PropertiesError::Damaged));
        assert_eq!(Properties::decode(b""), Err(PropertiesError::Damaged));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        #[test]
        fn what_is_kept_comes_back(entries in proptest::collection::vec(("[a-z]{0,3}", "[a-z]{1,3}", any::<Vec<u8>>()), 0..8)) {
            let mut properties = Properties::default();
            for (namespace, local, element) in entries {
                let name = Name::new(&namespace, &local);
                properties.apply(&Update::Set { name, element: element.into() }).unwrap();
            }
            let kept = properties.encode(usize::MAX).unwrap();
            prop_assert_eq!(Properties::decode(&kept), Ok(properties));
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = Properties::decode(&[MARK, &bytes].concat());
        }
    }
}
