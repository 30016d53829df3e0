//! Classifies a picture with a trained model: `cargo run --release --example use_model`, in a folder with `model.safetensors`
//! and `picture.png`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = archai::load("model.safetensors")?;
    let image = archai::read_picture("picture.png")?;
    println!("{}", model.predict(&image)?.best().name);
    Ok(())
}
