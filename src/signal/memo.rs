//! Label sets made from others, remembered: an expression makes the same ones at every check.

use std::cell::RefCell;
use std::collections::HashMap;

use crate::series::Labels;

/// Which making it was: no two of a plan share a number. [`NAMELESS`] is everybody's.
pub(super) type Making = u32;

/// A set without its metric name.
pub(super) const NAMELESS: Making = 0;
/// Sets remembered; beyond it, as where labels come from values, all is forgotten and begun anew.
const MOST: usize = 1 << 16;

/// Label sets by what they were made from, and how.
#[derive(Debug, Default)]
pub(super) struct Memo(RefCell<HashMap<(Making, Labels), Labels>>);

impl Memo {
    pub(super) fn get(&self, making: Making, from: &Labels, make: impl FnOnce(&Labels) -> Labels) -> Labels {
        let mut known = self.0.borrow_mut();
        if known.len() >= MOST {
            known.clear();
        }
        known.entry((making, from.clone())).or_insert_with(|| make(from)).clone()
    }

    pub(super) fn forget(&self) {
        self.0.borrow_mut().clear();
    }
}
