//! Native memory that frames pass through when the JVM's arrays are copied.

/// Room for one frame, kept between calls.
#[derive(Default)]
pub struct Scratch {
    bytes: Vec<u8>,
}

impl Scratch {
    const PAGE: usize = 4096;
    const LINE: usize = 64;

    /// `length` bytes of any content, placed so that what lies `front` bytes behind their start begins a cache line,
    /// half a page away from where the JVM tends to put large arrays: a copy between equal offsets in their pages runs
    /// at half speed, for the processor takes its loads to depend on its stores.
    pub fn take(&mut self, length: usize, front: usize) -> &mut [u8] {
        let needed = length + Self::PAGE;
        if self.bytes.len() < needed {
            self.bytes = vec![0; needed];
        }
        let wanted = Self::PAGE / 2 + Self::LINE - front % Self::LINE;
        let at = self.bytes.as_ptr().addr() % Self::PAGE;
        let start = (wanted + Self::PAGE - at) % Self::PAGE;
        &mut self.bytes[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::Scratch;

    #[test]
    fn plaintext_begins_a_cache_line_half_a_page_off() {
        let mut scratch = Scratch::default();
        for (length, front) in [(100, 4), (16404, 4), (16452, 20), (20, 4)] {
            let taken = scratch.take(length, front);
            assert_eq!(taken.len(), length);
            assert_eq!((taken.as_ptr().addr() + front) % 4096, 2048 + 64);
        }
    }
}
