//! WebDAV: no body, field or kept state panics, and what is read keeps its promises.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_dav::body::{LockInfo, OWNER_BYTES_MAX, PropFind, Update};
use ringway_dav::fields::{CONDITIONS_MAX, Conditions, ContentRange, Reference, lock_token, timeout};
use ringway_dav::locks::Locks;
use ringway_dav::multistatus::{Multistatus, write_empty};
use ringway_dav::properties::Properties;
use ringway_http::status::Status;

fn bodies(bytes: &[u8]) {
    if let Ok(PropFind::These(names)) = PropFind::read(bytes) {
        let mut answer = Multistatus::new();
        answer.begin(bytes);
        answer.propstat(Status::NOT_FOUND, None, |out| names.iter().for_each(|name| write_empty(out, name)));
        answer.end();
        assert!(String::from_utf8(answer.finish()).is_ok());
    }
    if let Ok(updates) = Update::read(bytes) {
        assert!(!updates.is_empty());
        let mut properties = Properties::default();
        for update in &updates {
            let _ = properties.apply(update);
        }
        let kept = properties.encode(usize::MAX).unwrap();
        assert_eq!(Properties::decode(&kept), Ok(properties));
        // What stands alone is read as a value again.
        for update in &updates {
            let Update::Set { name, element } = update else { continue };
            let again = [b"<a:propertyupdate xmlns:a=\"DAV:\"><a:set><a:prop>", &**element, b"</a:prop></a:set></a:propertyupdate>"];
            // It may lie too deep by now.
            if let Ok(again) = Update::read(&again.concat()) {
                assert_eq!(again[0].name(), name);
            }
        }
    }
    if let Ok(info) = LockInfo::read(bytes) {
        assert!(info.owner.len() <= OWNER_BYTES_MAX);
    }
}

fuzz_target!(|bytes: &[u8]| {
    bodies(bytes);
    if let Ok(conditions) = Conditions::read(bytes) {
        let count: usize = conditions.lists.iter().map(|list| list.conditions.len()).sum();
        assert!((1..=CONDITIONS_MAX).contains(&count));
        assert!(conditions.tokens().count() <= count);
        let _ = conditions.evaluate(|_, _| true);
    }
    if let Ok(reference) = Reference::read(bytes)
        && let Ok(path) = reference.normal_path()
    {
        assert!(path.starts_with(b"/"));
    }
    if let Ok(range) = ContentRange::read(bytes) {
        assert!(range.first <= range.last && range.complete.is_none_or(|complete| range.last < complete));
    }
    let _ = (lock_token(bytes), timeout(bytes));
    if let Ok(locks) = Locks::decode(bytes) {
        assert_eq!(Locks::decode(&locks.encode()), Ok(locks));
    }
    if let Ok(properties) = Properties::decode(bytes) {
        assert_eq!(Properties::decode(&properties.encode(usize::MAX).unwrap()), Ok(properties));
    }
});
