//! The pages and completions that packages install.

use std::process::Command;

use slackwater::cli::definition;

#[test]
fn the_manual_has_a_page_for_each_command_with_each_of_its_options() {
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("manual");
    let program = env!("CARGO_BIN_EXE_slackwater");
    let written = Command::new(program).arg("manual").arg(&out).output().unwrap();
    assert!(written.status.success(), "{written:?}");
    let read = |name: &str| std::fs::read_to_string(out.join(name)).expect(name);

    let mut definition = definition();
    definition.build();
    let shown = definition.get_subcommands().filter(|command| !command.is_hide_set());
    let commands: Vec<_> = shown.filter(|command| command.get_name() != "help").collect();
    assert_eq!(commands.len(), 11);
    let completions = ["slackwater.bash", "_slackwater", "slackwater.fish"].map(read);
    for command in commands {
        let name = command.get_name();
        let page = read(&format!("slackwater-{name}.1")).replace("\\-", "-");
        let shown = command.get_arguments().filter(|argument| !argument.is_hide_set());
        for option in shown.filter_map(clap::Arg::get_long) {
            assert!(page.contains(&format!("--{option}")), "{name}: --{option}");
            assert!(completions.iter().all(|text| text.contains(option)), "{name}: --{option}");
        }
        assert!(
            read("slackwater.1").replace("\\-", "-").contains(&format!("slackwater-{name}(1)"))
        );
    }
    assert!(!out.join("slackwater-manual.1").exists(), "it is for packages");

    let nowhere = Command::new(program).args(["manual", "/dev/null/x"]).output().unwrap();
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("/dev/null/x"), "{nowhere:?}");
}
