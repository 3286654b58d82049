//! Decoding of base64 (RFC 4648), strictly: standard alphabet with padding for FlexVolume secrets, URL-safe
//! alphabet without for the parts of a JWT.

/// Standard alphabet, padded.
pub(crate) fn decode_standard(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let bare = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    decode(bare, b'+', b'/')
}

/// URL-safe alphabet, unpadded.
pub(crate) fn decode_url(text: &str) -> Option<Vec<u8>> {
    decode(text, b'-', b'_')
}

fn decode(text: &str, char62: u8, char63: u8) -> Option<Vec<u8>> {
    if text.len() % 4 == 1 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3 + 2);
    let (mut buffer, mut bits) = (0u32, 0u32);
    for c in text.bytes() {
        let six = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            c if c == char62 => 62,
            c if c == char63 => 63,
            _ => return None,
        };
        buffer = buffer << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    // What is left over are padding bits, which an honest encoder leaves at zero.
    (buffer & ((1 << bits) - 1) == 0).then_some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn rfc_4648_vectors() {
        let vectors = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, encoded) in vectors {
            assert_eq!(decode_standard(encoded).unwrap(), plain.as_bytes());
            assert_eq!(decode_url(encoded.trim_end_matches('=')).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode_url("-_8").unwrap(), [0xfb, 0xff]);
        assert_eq!(decode_standard("+/8=").unwrap(), [0xfb, 0xff]);
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["Zg", "Zg=", "Z===", "Zh==", "Zm9v\n", "Z-9v", "Zm8=Zm8=", "é==="] {
            assert_eq!(decode_standard(text), None, "{text}");
        }
        for text in ["Zg==", "Z", "Zh", "Zm+v"] {
            assert_eq!(decode_url(text), None, "{text}");
        }
    }
}
