//! `--keep`: what to type to look around.

use super::story::Story;
use super::world::World;
use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

/// Writes the servers' addresses and root keys to a file that a shell can read, and says what can be done.
pub(super) fn print(world: &World, story: &Story) -> anyhow::Result<()> {
    let path = world.stack.tree().path().join("env");
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("make {}", path.display()))?;
    file.write_all(environment(world).as_bytes()).with_context(|| format!("write {}", path.display()))?;

    story.line("\nIt is running. In another terminal, as root:\n");
    story.line(&format!("  . {}", path.display()));
    story.line("      addresses and root keys of OpenBao (VAULT_ADDR, BAO_TOKEN) and MinIO (MINIO_URL,");
    story.line("      MINIO_ROOT_USER, AWS_ACCESS_KEY_ID ...), and bao on PATH");
    for one in &world.mounted {
        story.line(&format!("  ls -l {}", one.target.display()));
    }
    if let Some(first) = world.mounted.first() {
        story.line(&format!("  echo hello > {}/hello.txt", first.target.display()));
    }
    story.line("  findmnt -t fuse.goofys");
    story.line(&format!("  bao list sys/leases/lookup/{}/", world.alice.vault_path));
    story
        .line(&format!("  bao read {}        (a key of your own: a new MinIO user)", world.alice.vault_path));
    story.line(&format!("  curl -s http://{}/metrics", world.metrics));
    story.line(&format!("  tail -f {}", world.node.log().display()));
    story.line(&format!(
        "  less {}  {}",
        world.stack.bao().log().display(),
        world.stack.minio().log().display()
    ));
    story.line("\nThe volume of pod etl-0 gets new keys every few seconds. Press Ctrl-C here to end and remove it all.");
    Ok(())
}

fn environment(world: &World) -> String {
    let (bao, minio) = (world.stack.bao(), world.stack.minio());
    let token = world.stack.vault().token().map_or("", |token| token.expose_secret());
    let programs = world.parts.bao.parent().map(|path| path.display().to_string()).unwrap_or_default();
    let variables = [
        ("VAULT_ADDR", bao.address().to_owned()),
        ("BAO_ADDR", bao.address().to_owned()),
        ("VAULT_TOKEN", token.to_owned()),
        ("BAO_TOKEN", token.to_owned()),
        ("MINIO_URL", minio.url()),
        ("MINIO_ROOT_USER", minio.root_user().to_owned()),
        ("MINIO_ROOT_PASSWORD", minio.root_password().expose_secret().to_owned()),
        ("AWS_ENDPOINT_URL", minio.url()),
        ("AWS_ACCESS_KEY_ID", minio.root_user().to_owned()),
        ("AWS_SECRET_ACCESS_KEY", minio.root_password().expose_secret().to_owned()),
        ("BOATHOUSE_AGENT_SOCKET", world.node.agent_socket().display().to_string()),
    ];
    let mut text: String =
        variables.into_iter().map(|(name, value)| format!("export {name}='{value}'\n")).collect();
    text.push_str(&format!("export PATH='{programs}':\"$PATH\"\n"));
    text
}
