//! The HTTP contract (design §5): shapes, limits, layouts.

mod frontends;
mod limits;
mod shapes;

use crate::world::{Setup, World};

/// Layout (b): the frontends and the back end on siblings of one site.
pub(crate) async fn split() -> World {
    World::with(Setup {
        public_url: "https://auth.example.com",
        frontends: &["https://app.example.com/home", "https://beta.example.com"],
        ..Setup::default()
    })
    .await
}
