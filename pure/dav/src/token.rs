//! Names of locks: `urn:uuid:` and a random UUID (RFC 4918 section 6.5, RFC 9562 section 5.4).

/// The state token of 16 random bytes.
#[must_use]
pub fn lock_token(mut random: [u8; 16]) -> String {
    // Version 4, and the variant of the RFC.
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let mut text = String::with_capacity("urn:uuid:".len() + 36);
    text.push_str("urn:uuid:");
    for (at, byte) in random.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from_digit(digit.into(), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_uuid_of_version_4() {
        let token = super::lock_token([0xff; 16]);
        assert_eq!(token, "urn:uuid:ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(super::lock_token([0; 16]), "urn:uuid:00000000-0000-4000-8000-000000000000");
    }
}
