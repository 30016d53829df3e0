//! Whether the data of a JPEG file are what its headers announce. A decoder shows whatever it can make of damaged data: the
//! picture is shifted or grey from there on, which nobody would notice in a training.
//!
//! The codes of all scans are read (ITU-T T.81, annexes F and G), their meaning is not computed. Data that end before the last
//! block, or go on behind it, have lost or gained something in between. What is damaged within one block may leave all lengths
//! as they were, and is then not seen. Kinds of files that the decoder does not know either (arithmetic coding, lossless, 12
//! bits) are not judged.

/// More scans than any program writes.
const MAX_SCANS: usize = 64;

/// Pixels that any file may have to be judged, and how many times its size a larger one may have: what is beyond is refused
/// elsewhere, and would take memory here.
const PIXELS_FLOOR: usize = 16 << 20;
const PIXELS_RATIO: usize = 256;

/// Why reading ends early.
enum Stop {
    Damaged(&'static str),
    Unknown,
}

const CUT_OFF: Stop = Stop::Damaged("it was cut off");
const TOO_SHORT: Stop = Stop::Damaged("some of its data are missing");
const NO_HEADER: Stop = Stop::Damaged("one of its headers is wrong");
const NO_CODE: Stop = Stop::Damaged("its data mean nothing");

/// What is damaged in a JPEG file, if anything.
pub(crate) fn damage(bytes: &[u8]) -> Option<&'static str> {
    match File::default().read(bytes) {
        Ok(()) | Err(Stop::Unknown) => None,
        Err(Stop::Damaged(what)) => Some(what),
    }
}

/// What the headers said so far.
#[derive(Default)]
struct File {
    tables: [[Option<Box<Table>>; 4]; 2],
    frame: Option<Frame>,
    restart: usize,
    scans: usize,
}

struct Frame {
    width: usize,
    height: usize,
    is_progressive: bool,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    across: usize,
    down: usize,
    is_there: bool,
    /// Of each block, which coefficients are not zero; kept for progressive files only.
    nonzero: Vec<u64>,
}

/// A component of a scan: its place in the frame, and the numbers of its tables.
struct Part {
    component: usize,
    dc: usize,
    ac: usize,
}

struct Scan {
    parts: Vec<Part>,
    first: u32,
    last: u32,
    is_refinement: bool,
}

impl File {
    fn read(&mut self, bytes: &[u8]) -> Result<(), Stop> {
        let mut at = 0;
        loop {
            let rest = bytes.get(at..).ok_or(CUT_OFF)?;
            at += 1 + rest.iter().position(|&byte| byte == 0xff).ok_or(CUT_OFF)?;
            let marker = *bytes.get(at).ok_or(CUT_OFF)?;
            match marker {
                0xd9 => break,
                // A fill byte: the marker comes with the next one.
                0xff => continue,
                0x00 | 0x01 | 0xd0..=0xd8 => {
                    at += 1;
                    continue;
                }
                _ => at += 1,
            }
            let length = number(bytes.get(at..at + 2).ok_or(CUT_OFF)?);
            let end = at + length.max(2);
            let header = bytes.get(at + 2..end).ok_or(CUT_OFF)?;
            at = end;
            match marker {
                0xc4 => self.tables(header)?,
                0xc0..=0xc2 => self.frame(header, marker == 0xc2, bytes.len())?,
                0xc3 | 0xc5..=0xcf => return Err(Stop::Unknown),
                0xdd => self.restart = number(header.get(..2).ok_or(NO_HEADER)?),
                0xda => {
                    let scan = self.scan(header)?;
                    let (intervals, next) = intervals(bytes, at)?;
                    self.read_scan(&scan, &intervals)?;
                    at = next;
                }
                _ => {}
            }
        }
        let frame = self.frame.as_ref().ok_or(NO_HEADER)?;
        match frame.components.iter().all(|component| component.is_there) {
            true => Ok(()),
            false => Err(TOO_SHORT),
        }
    }

    /// Huffman tables.
    fn tables(&mut self, mut header: &[u8]) -> Result<(), Stop> {
        while let Some((&place, rest)) = header.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(NO_HEADER)?;
            let n = counts.iter().map(|&count| usize::from(count)).sum();
            let (values, rest) = rest.split_at_checked(n).ok_or(NO_HEADER)?;
            let table = self.tables.get_mut(usize::from(place >> 4));
            let table = table.and_then(|tables| tables.get_mut(usize::from(place & 15)));
            *table.ok_or(NO_HEADER)? = Some(Box::new(Table::new(counts, values)));
            header = rest;
        }
        Ok(())
    }

    fn frame(&mut self, header: &[u8], is_progressive: bool, length: usize) -> Result<(), Stop> {
        let (&[bits, a, b, c, d, n], rest) = header.split_first_chunk().ok_or(NO_HEADER)?;
        let (height, width) = (number(&[a, b]), number(&[c, d]));
        let most = length.saturating_mul(PIXELS_RATIO).max(PIXELS_FLOOR);
        if self.frame.is_some() || bits != 8 || height * width == 0 || height * width > most {
            return Err(Stop::Unknown);
        }
        let mut components = Vec::new();
        for component in rest.chunks_exact(3).take(n.into()) {
            let (across, down) = (component[1] >> 4, component[1] & 15);
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(NO_HEADER);
            }
            components.push(Component {
                id: component[0],
                across: across.into(),
                down: down.into(),
                is_there: false,
                nonzero: Vec::new(),
            });
        }
        if components.is_empty() || components.len() != usize::from(n) {
            return Err(NO_HEADER);
        }
        self.frame = Some(Frame {
            width,
            height,
            is_progressive,
            components,
        });
        Ok(())
    }

    fn scan(&mut self, header: &[u8]) -> Result<Scan, Stop> {
        let frame = self.frame.as_mut().ok_or(NO_HEADER)?;
        self.scans += 1;
        if self.scans > MAX_SCANS {
            return Err(Stop::Unknown);
        }
        let (&n, rest) = header.split_first().ok_or(NO_HEADER)?;
        let (named, rest) = rest.split_at_checked(2 * usize::from(n)).ok_or(NO_HEADER)?;
        let &[first, last, steps] = rest.first_chunk().ok_or(NO_HEADER)?;
        let mut parts = Vec::new();
        for named in named.chunks_exact(2) {
            let is_it = |component: &Component| component.id == named[0];
            let component = frame.components.iter().position(is_it).ok_or(NO_HEADER)?;
            frame.components[component].is_there = true;
            parts.push(Part {
                component,
                dc: usize::from(named[1] >> 4),
                ac: usize::from(named[1] & 15),
            });
        }
        let is_sound = !parts.is_empty() && first <= last && last < 64;
        if frame.is_progressive && !(is_sound && (first == 0 || parts.len() == 1)) {
            return Err(Stop::Unknown);
        }
        Ok(Scan {
            parts,
            first: first.into(),
            last: last.into(),
            is_refinement: steps >> 4 != 0,
        })
    }

    fn read_scan(&mut self, scan: &Scan, intervals: &[&[u8]]) -> Result<(), Stop> {
        let frame = self.frame.as_mut().ok_or(NO_HEADER)?;
        let most = |side: fn(&Component) -> usize| frame.components.iter().map(side).max();
        let across = most(|component| component.across).unwrap_or(1);
        let down = most(|component| component.down).unwrap_or(1);
        // Of a component that stands alone, only the blocks that hold pixels are there.
        let (total, blocks) = match &scan.parts[..] {
            [part] => {
                let component = &frame.components[part.component];
                let width = (frame.width * component.across).div_ceil(across);
                let height = (frame.height * component.down).div_ceil(down);
                (width.div_ceil(8) * height.div_ceil(8), vec![part])
            }
            parts => {
                let mut blocks = Vec::new();
                for part in parts {
                    let component = &frame.components[part.component];
                    let n = component.across * component.down;
                    blocks.extend(std::iter::repeat_n(part, n));
                }
                let total = frame.width.div_ceil(8 * across) * frame.height.div_ceil(8 * down);
                (total, blocks)
            }
        };
        let step = match self.restart {
            0 => total,
            restart => restart,
        };
        if intervals.len() != total.div_ceil(step) {
            return Err(TOO_SHORT);
        }
        let table = |class: usize, place: usize| -> Result<&Table, Stop> {
            let table = self.tables[class].get(place).and_then(Option::as_deref);
            table.ok_or(NO_HEADER)
        };
        for (i, interval) in intervals.iter().enumerate() {
            let mut bits = Bits {
                rest: interval,
                held: 0,
                n: 0,
            };
            let mut band = Band {
                first: scan.first,
                last: scan.last,
                skipped: 0,
            };
            for unit in i * step..total.min((i + 1) * step) {
                for part in &blocks {
                    if !frame.is_progressive {
                        difference(table(0, part.dc)?, &mut bits)?;
                        block(table(1, part.ac)?, &mut bits)?;
                    } else if scan.first > 0 {
                        let nonzero = &mut frame.components[part.component].nonzero;
                        nonzero.resize(total, 0);
                        let nonzero = &mut nonzero[unit];
                        let table = table(1, part.ac)?;
                        match scan.is_refinement {
                            false => band.begin(table, &mut bits, nonzero)?,
                            true => band.refine(table, &mut bits, nonzero)?,
                        }
                    } else if scan.is_refinement {
                        bits.take(1)?;
                    } else {
                        difference(table(0, part.dc)?, &mut bits)?;
                    }
                }
            }
            if !bits.is_used_up() {
                return Err(Stop::Damaged("it holds more data than its picture needs"));
            }
        }
        Ok(())
    }
}

fn number(bytes: &[u8]) -> usize {
    bytes
        .iter()
        .fold(0, |number, &byte| number << 8 | usize::from(byte))
}

/// The data of a scan that begin at `at`, divided at its restart markers, which must count on; and where the next marker is.
fn intervals(bytes: &[u8], at: usize) -> Result<(Vec<&[u8]>, usize), Stop> {
    let (mut all, mut start, mut at) = (Vec::new(), at, at);
    loop {
        let rest = bytes.get(at..).ok_or(CUT_OFF)?;
        let end = at + rest.iter().position(|&byte| byte == 0xff).ok_or(CUT_OFF)?;
        let mut last = end;
        while bytes.get(last + 1) == Some(&0xff) {
            last += 1;
        }
        let marker = *bytes.get(last + 1).ok_or(CUT_OFF)?;
        at = last + 2;
        match marker {
            // A byte of the data.
            0x00 => {}
            0xd0..=0xd7 => {
                if usize::from(marker & 7) != all.len() % 8 {
                    return Err(TOO_SHORT);
                }
                all.push(&bytes[start..end]);
                start = at;
            }
            _ => {
                all.push(&bytes[start..end]);
                return Ok((all, last));
            }
        }
    }
}

/// The first coefficient of a block.
fn difference(table: &Table, bits: &mut Bits<'_>) -> Result<(), Stop> {
    match table.read(bits)? {
        n @ 0..=16 => bits.take(n.into()).map(drop),
        _ => Err(NO_CODE),
    }
}

/// The other coefficients of a block of a sequential file.
fn block(table: &Table, bits: &mut Bits<'_>) -> Result<(), Stop> {
    let mut place = 1;
    while place < 64 {
        let code = table.read(bits)?;
        match (code >> 4, code & 15) {
            (15, 0) => place += 16,
            (_, 0) => break,
            (zeros, n) => {
                place += u32::from(zeros);
                if place > 63 {
                    return Err(NO_CODE);
                }
                bits.take(n.into())?;
                place += 1;
            }
        }
    }
    Ok(())
}

/// Some coefficients of the blocks of a progressive file.
struct Band {
    first: u32,
    last: u32,
    /// Blocks that the last code passed over.
    skipped: u32,
}

impl Band {
    /// Their first bits.
    fn begin(&mut self, table: &Table, bits: &mut Bits<'_>, nonzero: &mut u64) -> Result<(), Stop> {
        if self.skipped > 0 {
            self.skipped -= 1;
            return Ok(());
        }
        let mut place = self.first;
        while place <= self.last {
            let code = table.read(bits)?;
            match (u32::from(code >> 4), u32::from(code & 15)) {
                (15, 0) => place += 16,
                (run, 0) => {
                    self.skipped = (1 << run) - 1 + bits.take(run)?;
                    break;
                }
                (zeros, n) => {
                    place += zeros;
                    if place > 63 {
                        return Err(NO_CODE);
                    }
                    bits.take(n)?;
                    *nonzero |= 1 << place;
                    place += 1;
                }
            }
        }
        Ok(())
    }

    /// One more bit of each.
    fn refine(
        &mut self,
        table: &Table,
        bits: &mut Bits<'_>,
        nonzero: &mut u64,
    ) -> Result<(), Stop> {
        let mut place = self.first;
        while self.skipped == 0 && place <= self.last {
            let code = table.read(bits)?;
            let (mut zeros, is_new) = (u32::from(code >> 4), code & 15 != 0);
            if is_new {
                bits.take(1)?;
            } else if zeros < 15 {
                self.skipped = (1 << zeros) + bits.take(zeros)?;
                break;
            }
            while place <= self.last {
                if *nonzero >> place & 1 == 1 {
                    bits.take(1)?;
                } else if zeros == 0 {
                    break;
                } else {
                    zeros -= 1;
                }
                place += 1;
            }
            if is_new {
                if place > self.last {
                    return Err(NO_CODE);
                }
                *nonzero |= 1 << place;
            }
            place += 1;
        }
        if self.skipped > 0 {
            self.skipped -= 1;
            let rest = (u64::MAX << place) & (u64::MAX >> (63 - self.last));
            let mut n = (*nonzero & rest).count_ones();
            while n > 0 {
                let some = n.min(16);
                bits.take(some)?;
                n -= some;
            }
        }
        Ok(())
    }
}

/// The bits of an interval.
struct Bits<'a> {
    rest: &'a [u8],
    held: u64,
    /// How many of the lowest bits of `held` are to be read.
    n: u32,
}

impl Bits<'_> {
    fn fill(&mut self) {
        while self.n <= 56 {
            let Some((&byte, rest)) = self.rest.split_first() else {
                break;
            };
            // Behind such a byte a zero is stuffed.
            let is_stuffed = byte == 0xff;
            self.rest = &rest[usize::from(is_stuffed).min(rest.len())..];
            self.held = self.held << 8 | u64::from(byte);
            self.n += 8;
        }
    }

    /// The next `n` bits, at most 16.
    fn take(&mut self, n: u32) -> Result<u32, Stop> {
        if n == 0 {
            return Ok(0);
        }
        if self.n < n {
            self.fill();
        }
        self.n = self.n.checked_sub(n).ok_or(TOO_SHORT)?;
        Ok((self.held >> self.n) as u32 & ((1 << n) - 1))
    }

    /// The next 16 bits, which stay; zeros behind the end.
    fn peek(&mut self) -> u32 {
        if self.n < 16 {
            self.fill();
        }
        let next = match self.n {
            0..16 => self.held << (16 - self.n),
            n => self.held >> (n - 16),
        };
        next as u32 & 0xffff
    }

    /// Whether nothing is left but the rest of a byte, and filling.
    fn is_used_up(&self) -> bool {
        let held = (0..self.n / 8).map(|i| (self.held >> (8 * i)) as u8);
        let mut left = held.chain(self.rest.iter().copied());
        left.all(|byte| byte == 0 || byte == 0xff)
    }
}

/// A Huffman table.
struct Table {
    /// By the next eight bits: length and value of a code that is not longer.
    short: [(u8, u8); 256],
    /// By length - 1: the first code, the one behind the last, and the place of the first one's value.
    ranges: [(u32, u32, usize); 16],
    values: Vec<u8>,
}

impl Table {
    /// From the number of codes of each length, and their values.
    fn new(counts: &[u8; 16], values: &[u8]) -> Table {
        let mut table = Table {
            short: [(0, 0); 256],
            ranges: [(0, 0, 0); 16],
            values: values.to_vec(),
        };
        let (mut code, mut at) = (0, 0);
        for (i, &count) in counts.iter().enumerate() {
            let first = code;
            for &value in &values[at..at + usize::from(count)] {
                if i < 8 {
                    let from = (code as usize) << (7 - i);
                    let entries = table.short.iter_mut().skip(from).take(1 << (7 - i));
                    entries.for_each(|entry| *entry = (i as u8 + 1, value));
                }
                code += 1;
            }
            table.ranges[i] = (first, code, at);
            at += usize::from(count);
            code <<= 1;
        }
        table
    }

    /// The value of the next code.
    fn read(&self, bits: &mut Bits<'_>) -> Result<u8, Stop> {
        let next = bits.peek();
        let (length, value) = self.short[(next >> 8) as usize];
        if length > 0 {
            bits.take(length.into())?;
            return Ok(value);
        }
        for (length, &(first, end, at)) in (1..).zip(&self.ranges).skip(8) {
            let code = next >> (16 - length);
            if (first..end).contains(&code) {
                bits.take(length)?;
                let value = self.values.get(at + (code - first) as usize);
                return value.copied().ok_or(NO_CODE);
            }
        }
        Err(NO_CODE)
    }
}
