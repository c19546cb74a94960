//! A server of its own for each test: the real binary on both ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// The binary.
pub fn onefold() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onefold"));
    command.stdin(Stdio::null()).env_remove("ONEFOLD_TENANT").env_remove("ONEFOLD_LOG");
    command
}

/// `onefold serve` on this directory.
pub struct Served {
    child: Child,
    /// Where it listens.
    pub address: String,
}

impl Served {
    pub fn start(data: &Path) -> Self {
        let mut serve = onefold();
        serve.args(["serve", "--listen", "127.0.0.1:0", "--log", "warn", "--data"]).arg(data);
        let mut child = serve.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut banner = String::new();
        lines.read_line(&mut banner).unwrap();
        let address = banner.trim().rsplit(' ').next().unwrap().to_owned();
        std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
        Self { child, address }
    }

    /// What a command says, on either stream, and whether it went well.
    pub fn run(&self, arguments: &[&str]) -> (bool, String) {
        run(onefold().args(arguments).env("ONEFOLD_ADDR", &self.address))
    }

    /// What a command says that goes well.
    pub fn fine(&self, arguments: &[&str]) -> String {
        let (fine, said) = self.run(arguments);
        assert!(fine, "{arguments:?}: {said}");
        said
    }

    pub fn stop(mut self) {
        Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a command says, on either stream, and whether it went well.
pub fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
