//! How files of runs name the device: only where it is not the usual one, so that they are the same as before there was a
//! choice.

use archai_engine::device::USUAL_DEVICE;

/// The device that a file means which names none.
pub(crate) fn usual_device() -> String {
    USUAL_DEVICE.to_string()
}

/// Whether a file need not name this device.
pub(crate) fn is_usual_device(device: &str) -> bool {
    device == USUAL_DEVICE
}
