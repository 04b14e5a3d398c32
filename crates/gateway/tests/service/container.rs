//! What the image does with the program, done to the program: its environment, its health check,
//! its stop signal. The image itself is built where an engine is.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use slackwater_lab::proof::skipped;
use slackwater_lab::raw::RawClient;

use super::{assert_answered_and_drained, wait};

/// A container has all addresses for itself; the test has this one.
const ADDRESS: &str = "127.76.82.1";

/// What the last stage of the Dockerfile says.
struct Image {
    environment: HashMap<String, String>,
    instructions: HashMap<String, String>,
}

impl Image {
    fn read() -> Self {
        let text = std::fs::read_to_string(dockerfile()).unwrap();
        let (_, stage) = text.rsplit_once("\nFROM ").unwrap();
        let (mut environment, mut instructions) = (HashMap::new(), HashMap::new());
        for (instruction, rest) in stage.lines().filter_map(|line| line.split_once(' ')) {
            if instruction == "ENV" {
                let (name, value) = rest.split_once('=').unwrap();
                environment.insert(name.to_owned(), value.to_owned());
            } else {
                instructions.insert(instruction.to_owned(), rest.to_owned());
            }
        }
        Self { environment, instructions }
    }

    /// The program with arguments and environment of the image, below `root`.
    fn command(&self, arguments: &[String], root: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_slackwater"));
        command.args(arguments).env_clear().current_dir(root);
        for (name, value) in &self.environment {
            match name.as_str() {
                "SLACKWATER_LISTEN" => command.env(name, value.replace("0.0.0.0", ADDRESS)),
                _ => command.env(name, root.join(value.trim_start_matches('/'))),
            };
        }
        command
    }

    /// The words of an instruction in its JSON form, without the program's own name.
    fn arguments(&self, instruction: &str) -> Vec<String> {
        let text = &self.instructions[instruction];
        let (_, list) = text.split_once('[').unwrap();
        let mut words: Vec<String> = serde_json::from_str(&format!("[{list}")).unwrap();
        if words.first().is_some_and(|word| word == "slackwater") {
            words.remove(0);
        }
        words
    }
}

/// A program that does not outlive the test.
struct Running(Child);

impl Running {
    fn of(command: &mut Command) -> Self {
        Self(command.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

fn dockerfile() -> PathBuf {
    project("packaging/container/Dockerfile")
}

/// Calls until it gives something.
async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_container_is_healthy_while_it_drains_and_stops_without_losing_an_answer() {
    let image = Image::read();
    let root = tempfile::tempdir().unwrap();
    for directory in ["run/slackwater", "var/lib/slackwater"] {
        std::fs::create_dir_all(root.path().join(directory)).unwrap();
    }
    let mut health_check = image.command(&image.arguments("HEALTHCHECK"), root.path());
    let mut healthy = || {
        let output = health_check.output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(healthy(), None, "before it runs");

    let mut serve = image.command(&image.arguments("CMD"), root.path());
    let mut container = Running::of(serve.args(["--ebb-window", "0s"]));
    let status = eventually("healthy", &mut healthy).await;
    assert!(status.starts_with("serving"), "{status}");
    let address = format!("{ADDRESS}:{}", image.instructions["EXPOSE"]).parse().unwrap();
    let mut client = RawClient::connect(address, "/").await.unwrap();
    client.send_text(&wait(1.0)).await.unwrap();
    eventually("executed", || healthy()?.contains(" 1 pending request,").then_some(())).await;

    assert_eq!(image.instructions["STOPSIGNAL"], "SIGTERM");
    kill_process(Pid::from_child(&container.0), Signal::TERM).unwrap();
    eventually("a drain, and healthy", || healthy()?.starts_with("ebb").then_some(())).await;
    assert_answered_and_drained(&mut client).await;
    let ended = eventually("an end", || container.0.try_wait().unwrap()).await;
    assert_eq!(ended.code(), Some(0));
    assert_eq!(healthy(), None, "after its end");
}

#[test]
fn the_image_is_built_and_runs() {
    let docker = |arguments: &[&str]| {
        Command::new("docker").args(arguments).current_dir(project("")).output()
    };
    if !docker(&["info"]).is_ok_and(|output| output.status.success()) {
        return skipped("the image of packaging/container", "no engine that builds one");
    }
    let file = dockerfile();
    let build = docker(&["build", "--quiet", "--file", file.to_str().unwrap(), "."]).unwrap();
    assert!(build.status.success(), "{}", String::from_utf8_lossy(&build.stderr));
    let image = String::from_utf8(build.stdout).unwrap();
    let run = docker(&["run", "--rm", image.trim(), "--version"]).unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}
