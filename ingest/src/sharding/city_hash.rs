//! CityHash64 of version 1.0.2, as ClickHouse's `cityHash64` computes it.
//!
//! Google changed the function in 1.0.3, and crates for Rust have the later versions or the 128 bits
//! of 1.0.2 alone. Follows the description in the source of CityHash 1.0.2; the numbers are
//! little-endian.

const K0: u64 = 0xc3a5_c85c_97cb_3127;
const K1: u64 = 0xb492_b66f_be98_f273;
const K2: u64 = 0x9ae1_6a3b_2f90_404f;
const K3: u64 = 0xc949_d7c7_509e_6557;
const MULTIPLIER: u64 = 0x9ddf_ea08_eb38_2d69;

/// Returns the hash of `bytes`.
pub(super) fn city_hash_64(bytes: &[u8]) -> u64 {
    match bytes.len() {
        0 => K2,
        1..=3 => up_to_3(bytes),
        4..=8 => {
            let length = bytes.len() as u64;
            hash_16(
                length.wrapping_add(u64::from(u32_at(bytes, 0)) << 3),
                u64::from(u32_at(bytes, bytes.len() - 4)),
            )
        }
        9..=16 => {
            let (first, last) = (u64_at(bytes, 0), u64_at(bytes, bytes.len() - 8));
            let length = bytes.len() as u32;
            last ^ hash_16(first, last.wrapping_add(u64::from(length)).rotate_right(length))
        }
        17..=32 => up_to_32(bytes),
        33..=64 => up_to_64(bytes),
        _ => longer(bytes),
    }
}

/// Combines the hashes of two values.
pub(super) fn hash_16(low: u64, high: u64) -> u64 {
    let a = shift_mix((low ^ high).wrapping_mul(MULTIPLIER));
    let b = shift_mix((high ^ a).wrapping_mul(MULTIPLIER));
    b.wrapping_mul(MULTIPLIER)
}

fn up_to_3(bytes: &[u8]) -> u64 {
    let [first, middle, last] = [0, bytes.len() / 2, bytes.len() - 1].map(|at| u64::from(bytes[at]));
    let y = first.wrapping_add(middle << 8);
    let z = (bytes.len() as u64).wrapping_add(last << 2);
    shift_mix(y.wrapping_mul(K2) ^ z.wrapping_mul(K3)).wrapping_mul(K2)
}

fn up_to_32(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let a = u64_at(bytes, 0).wrapping_mul(K1);
    let b = u64_at(bytes, 8);
    let c = u64_at(bytes, length - 8).wrapping_mul(K2);
    let d = u64_at(bytes, length - 16).wrapping_mul(K0);
    hash_16(
        a.wrapping_sub(b)
            .rotate_right(43)
            .wrapping_add(c.rotate_right(30))
            .wrapping_add(d),
        a.wrapping_add((b ^ K3).rotate_right(20))
            .wrapping_sub(c)
            .wrapping_add(length as u64),
    )
}

fn up_to_64(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    // Each half: four numbers, of which the first begins with a sum of its own.
    let half = |begin: u64, last: u64, second: u64, third: u64| {
        let mut a = begin;
        let mut b = a.wrapping_add(last).rotate_right(52);
        let mut c = a.rotate_right(37);
        a = a.wrapping_add(second);
        c = c.wrapping_add(a.rotate_right(7));
        a = a.wrapping_add(third);
        b = b.wrapping_add(a.rotate_right(31)).wrapping_add(c);
        (a.wrapping_add(last), b)
    };
    let end = |before: usize| u64_at(bytes, length - before);
    let begin = (length as u64).wrapping_add(end(16)).wrapping_mul(K0);
    let (v0, v1) = half(
        u64_at(bytes, 0).wrapping_add(begin),
        u64_at(bytes, 24),
        u64_at(bytes, 8),
        u64_at(bytes, 16),
    );
    let (w0, w1) = half(u64_at(bytes, 16).wrapping_add(end(32)), end(8), end(24), end(16));
    let sum = v0
        .wrapping_add(w1)
        .wrapping_mul(K2)
        .wrapping_add(w0.wrapping_add(v1).wrapping_mul(K0));
    shift_mix(shift_mix(sum).wrapping_mul(K0).wrapping_add(v1)).wrapping_mul(K2)
}

fn longer(bytes: &[u8]) -> u64 {
    let length = bytes.len();
    let mut x = u64_at(bytes, 0);
    let mut y = u64_at(bytes, length - 16) ^ K1;
    let mut z = u64_at(bytes, length - 56) ^ K0;
    let mut v = weak_32(&bytes[length - 64..], length as u64, y);
    let mut w = weak_32(&bytes[length - 32..], (length as u64).wrapping_mul(K1), K0);
    z = z.wrapping_add(shift_mix(v.1).wrapping_mul(K1));
    x = z.wrapping_add(x).rotate_right(39).wrapping_mul(K1);
    y = y.rotate_right(33).wrapping_mul(K1);
    // The last bytes, at least one and at most 64, are those that `v` and `w` began with.
    for chunk in bytes[..(length - 1) / 64 * 64].chunks_exact(64) {
        x = x
            .wrapping_add(y)
            .wrapping_add(v.0)
            .wrapping_add(u64_at(chunk, 16))
            .rotate_right(37)
            .wrapping_mul(K1);
        y = y
            .wrapping_add(v.1)
            .wrapping_add(u64_at(chunk, 48))
            .rotate_right(42)
            .wrapping_mul(K1);
        x ^= w.1;
        y ^= v.0;
        z = (z ^ w.0).rotate_right(33);
        v = weak_32(chunk, v.1.wrapping_mul(K1), x.wrapping_add(w.0));
        w = weak_32(&chunk[32..], z.wrapping_add(w.1), y);
        (x, z) = (z, x);
    }
    hash_16(
        hash_16(v.0, w.0)
            .wrapping_add(shift_mix(y).wrapping_mul(K1))
            .wrapping_add(z),
        hash_16(v.1, w.1).wrapping_add(x),
    )
}

/// Returns two numbers from the first 32 bytes and two seeds.
fn weak_32(bytes: &[u8], a: u64, b: u64) -> (u64, u64) {
    let [w, x, y, z] = [0, 8, 16, 24].map(|at| u64_at(bytes, at));
    let a = a.wrapping_add(w);
    let b = b.wrapping_add(a).wrapping_add(z).rotate_right(21);
    let sum = a.wrapping_add(x).wrapping_add(y);
    (
        sum.wrapping_add(z),
        b.wrapping_add(sum.rotate_right(44)).wrapping_add(a),
    )
}

fn shift_mix(value: u64) -> u64 {
    value ^ (value >> 47)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that ClickHouse 26.7 returns for
    /// `cityHash64(substring(repeat('0123456789', 30), 1, length))`.
    #[test]
    fn hashes_of_every_length_class_are_those_of_clickhouse() {
        let text = "0123456789".repeat(30);
        for (length, hash) in EXPECTED {
            assert_eq!(city_hash_64(&text.as_bytes()[..length]), hash, "{length}");
        }
    }

    const EXPECTED: [(usize, u64); 15] = [
        (0, 11160318154034397263),
        (1, 10408321403207385874),
        (3, 10004111379364466413),
        (4, 12579659945566698690),
        (8, 7994146191380129035),
        (9, 2943582641455212157),
        (16, 13127848778468552123),
        (17, 10405240257558556855),
        (32, 7314106400606791880),
        (33, 6240481354720766799),
        (64, 6883403192180386677),
        (65, 4542353326030384943),
        (128, 7219484646688739894),
        (129, 12446843158975398907),
        (300, 10379681520401507696),
    ];
}
