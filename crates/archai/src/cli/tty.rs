//! The terminal as the system has it: how large it is, who may use it, and its keys one by one.

/// Columns and rows of a terminal that does not say.
const USUAL: (usize, usize) = (80, 24);

#[cfg(unix)]
mod system {
    use std::io::{stderr, stdin};
    use std::os::fd::AsFd;
    use std::sync::{Mutex, PoisonError};

    use nix::sys::signal::{SigSet, Signal};
    use nix::unistd::{getpgrp, getsid};
    use rustix::termios::{
        LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetpgrp,
        tcgetwinsize, tcsetattr,
    };

    /// Columns and rows of the terminal that standard error goes to.
    pub fn size() -> (usize, usize) {
        match tcgetwinsize(stderr()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
                (usize::from(size.ws_col), usize::from(size.ws_row))
            }
            _ => super::USUAL,
        }
    }

    /// Whether the shell lets this program have the terminal: one that goes on in the background must neither draw there nor
    /// take keys.
    pub fn may_draw() -> bool {
        // Who has no shell to share it with has it alone.
        has(stderr()).unwrap_or(true)
    }

    fn has(terminal: impl AsFd) -> Option<bool> {
        let group = tcgetpgrp(terminal).ok()?;
        Some(group.as_raw_nonzero().get() == getpgrp().as_raw())
    }

    /// Whether there is a shell that could go on with a program that is stopped.
    pub fn can_be_stopped() -> bool {
        getsid(None).is_ok_and(|session| session != getpgrp())
    }

    /// Keys of the terminal that standard input comes from, one by one, without their letters being shown. The keys that
    /// interrupt and stop programs do so as ever.
    #[derive(Debug, Default)]
    pub struct Keys(Mutex<State>);

    #[derive(Debug, Default)]
    struct State {
        /// Whether keys are wanted.
        wanted: bool,
        /// How the terminal was before, while it is ours.
        before: Option<Termios>,
    }

    impl Keys {
        /// Whether there is a keyboard.
        pub fn are_there() -> bool {
            isatty(stdin()) && has(stdin()).is_some()
        }

        /// From now on keys are wanted.
        pub fn want(&self) {
            self.state().wanted = true;
        }

        /// Gives the terminal back as it was; keys are no longer wanted.
        pub fn give_back(&self) {
            let mut state = self.state();
            state.wanted = false;
            if let Some(before) = state.before.take()
                && has(stdin()) == Some(true)
            {
                // A terminal that has gone needs nothing.
                let _ = tcsetattr(stdin(), OptionalActions::Now, &before);
            }
        }

        fn state(&self) -> std::sync::MutexGuard<'_, State> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        /// What this thread reads never stops the program, when it is in the background by then.
        pub fn prepare_thread() {
            let mut set = SigSet::empty();
            set.add(Signal::SIGTTIN);
            // At worst it stops as other programs do.
            let _ = set.thread_block();
        }

        /// The keys that were pressed; waits for a tenth of a second. None where none may be read now.
        pub fn pressed(&self) -> Option<Vec<u8>> {
            if !self.take() {
                return None;
            }
            let mut keys = [0; 64];
            let n = rustix::io::read(stdin(), &mut keys).ok()?;
            Some(keys[..n].to_vec())
        }

        /// Makes the terminal ours, if it is wanted and may be had. Shells set it back while a program is stopped.
        fn take(&self) -> bool {
            let mut state = self.state();
            if !state.wanted || has(stdin()) != Some(true) {
                return false;
            }
            let Ok(mut now) = tcgetattr(stdin()) else {
                return false;
            };
            let line = LocalModes::ICANON | LocalModes::ECHO;
            if !now.local_modes.intersects(line) {
                return true;
            }
            state.before = Some(now.clone());
            now.local_modes -= line;
            now.special_codes[SpecialCodeIndex::VMIN] = 0;
            now.special_codes[SpecialCodeIndex::VTIME] = 1;
            tcsetattr(stdin(), OptionalActions::Now, &now).is_ok()
        }
    }
}

#[cfg(not(unix))]
mod system {
    /// Columns and rows of the terminal that standard error goes to.
    pub fn size() -> (usize, usize) {
        let width = crate::cli::text::error_width();
        (width.unwrap_or(super::USUAL.0), super::USUAL.1)
    }

    /// Whether this program may draw.
    pub fn may_draw() -> bool {
        true
    }

    /// Keys are read on Unix alone.
    #[derive(Debug, Default)]
    pub struct Keys;

    impl Keys {
        /// Whether there is a keyboard.
        pub fn are_there() -> bool {
            false
        }

        /// Nothing is read.
        pub fn want(&self) {}

        /// Nothing was taken.
        pub fn give_back(&self) {}

        /// Nothing to prepare.
        pub fn prepare_thread() {}

        /// None.
        pub fn pressed(&self) -> Option<Vec<u8>> {
            None
        }
    }
}

pub use system::*;
