//! Classifies images of the network's size (.ppm, or .pgm for one channel), or prints the logits of numbers (.f32: normalised
//! images as little-endian floats in the order image, channel, row, column).

use std::io::Write;
use std::process::ExitCode;

use network::{CHANNELS, Error, HEIGHT, N_CLASSES, Network, WIDTH};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let usage = || Error("usage: network model.safetensors IMAGE.ppm|IMAGE.pgm|NUMBERS.f32...".to_string());
    let network = Network::load(arguments.next().ok_or_else(usage)?)?;
    let mut out = std::io::stdout().lock();
    for file in arguments {
        let at = |e: &dyn std::fmt::Display| Error(format!("`{file}`: {e}"));
        let bytes = std::fs::read(&file).map_err(|e| at(&e))?;
        let mut text = String::new();
        if file.ends_with(".f32") {
            let numbers: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
            let logits = network.logits(&numbers).map_err(|e| at(&e))?;
            for image in logits.chunks(N_CLASSES) {
                let numbers: Vec<String> = image.iter().map(f32::to_string).collect();
                text += &format!("{}\n", numbers.join(" "));
            }
        } else {
            let pixels = pixels(&bytes).map_err(|e| at(&e))?;
            let best = network.classify(pixels).map_err(|e| at(&e))?;
            text += &format!("{file}: {} ({:.1} %)\n", best[0].name, 100.0 * best[0].probability);
        }
        out.write_all(text.as_bytes()).map_err(|e| at(&e))?;
    }
    Ok(())
}

/// The pixels of a binary PPM or PGM file of one byte per number.
fn pixels(bytes: &[u8]) -> Result<&[u8], Error> {
    let magic: &[u8] = if CHANNELS == 1 { b"P5" } else { b"P6" };
    let wrong = || {
        let kind = if CHANNELS == 1 { "PGM (P5)" } else { "PPM (P6)" };
        Error(format!("expected a binary {kind} file of {WIDTH}x{HEIGHT} pixels with 255 as its largest value"))
    };
    let mut rest = bytes.strip_prefix(magic).ok_or_else(wrong)?;
    for expected in [WIDTH, HEIGHT, 255] {
        loop {
            match rest {
                [b'#', ..] => rest = &rest[rest.iter().position(|&b| b == b'\n').ok_or_else(wrong)?..],
                [b, after @ ..] if b.is_ascii_whitespace() => rest = after,
                _ => break,
            }
        }
        let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let number = std::str::from_utf8(&rest[..digits]).map_err(|_| wrong())?;
        if number.parse() != Ok(expected) {
            return Err(wrong());
        }
        rest = &rest[digits..];
    }
    rest.get(1..).ok_or_else(wrong)
}
