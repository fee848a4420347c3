//! Mutations that depend on nothing but a seed.

/// SplitMix64: small, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// A number of 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`; 0 if `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.draw() >> 33) as usize % n.max(1)
    }
}

/// Numbers at which decoders go wrong.
const EDGES: [i64; 14] =
    [-1, 0, 1, -2, 127, 128, 255, 0x7fff, 0x8000, 0xffff, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];

/// `input`, changed in one to four places; `other` is another input to borrow from.
pub fn mutate(random: &mut Random, input: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        once(random, &mut bytes, other);
    }
    bytes
}

fn once(random: &mut Random, bytes: &mut Vec<u8>, other: &[u8]) {
    let at = random.below(bytes.len() + 1);
    let end = (at + 1 + random.below(32)).min(bytes.len());
    match random.below(8) {
        0 => flip(bytes, at, random.draw()),
        1 => set(bytes, at, (random.draw() & 0xff) as u8),
        2 => edge(random, bytes, at),
        3 => drop(bytes.drain(at.min(end)..end)),
        4 => bytes.truncate(at),
        5 => drop(bytes.splice(at..at, (0..random.below(8)).map(|_| 0xff).collect::<Vec<u8>>())),
        6 => {
            let copy = bytes[at.min(end)..end].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let from = random.below(other.len() + 1);
            let upto = (from + random.below(64)).min(other.len());
            bytes.splice(at.min(end)..end, other[from..upto].iter().copied());
        }
    }
}

fn flip(bytes: &mut [u8], at: usize, bit: u64) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << (bit & 7);
    }
}

fn set(bytes: &mut [u8], at: usize, value: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = value;
    }
}

fn edge(random: &mut Random, bytes: &mut [u8], at: usize) {
    let value = EDGES[random.below(EDGES.len())];
    let width = 1 << random.below(4);
    let big = random.below(2) == 0;
    let number = if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let number = if big { &number[8 - width..] } else { &number[..width] };
    if let Some(place) = bytes.get_mut(at..at + width) {
        place.copy_from_slice(number);
    }
}
