//! `entrar setup entra`: the commands of Azure CLI that register an app for sign-ins, to be read and run by an
//! administrator. Nothing is run here.

use std::fmt::Write as _;

use entrar_core::resource::DEVOPS;

/// Microsoft Graph's app id, and the ids of its delegated permissions that every sign-in asks for. Source: Microsoft's
/// reference of Graph permissions.
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// A delegated permission that an app can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Permission {
    /// Read your own profile in Microsoft Graph (User.Read)
    Graph,
    /// Read and write Azure Storage as you
    Storage,
    /// Use Azure Key Vault as you
    Vault,
    /// Use Azure SQL Database as you
    Sql,
    /// Manage Azure as you
    Management,
    /// Use Azure DevOps as you
    Devops,
    /// Use Azure Databricks as you
    Databricks,
}

impl Permission {
    /// What is asked for when nothing is chosen.
    pub(crate) const USUAL: [Self; 2] = [Self::Graph, Self::Storage];

    /// The app id of the service and the name of its permission. Graph's has a known id; those of the others are looked up by
    /// name, since Azure CLI takes ids only.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Graph => (GRAPH, "User.Read"),
            Self::Storage => ("e406a681-f3d4-42a8-90b6-c2b029497af1", "user_impersonation"),
            Self::Vault => ("cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "user_impersonation"),
            Self::Sql => ("022907d3-0f1b-48f7-badc-1ba6abab6d66", "user_impersonation"),
            Self::Management => ("797f4846-ba00-4fd7-ba43-dac1f8f63013", "user_impersonation"),
            Self::Devops => (DEVOPS, "user_impersonation"),
            Self::Databricks => ("2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "user_impersonation"),
        }
    }
}

/// The commands for a POSIX shell. `name` is the app's name, which people see when they sign in.
pub(crate) fn commands(name: &str, permissions: &[Permission]) -> String {
    let name = name.replace('\'', "'\\''");
    let mut text = format!(
        "\
# Registers an app of your organisation that people sign in to from R on their own machine.
# For an administrator of Entra ID (Application Administrator, or Cloud Application Administrator) to read
# and to run, with Azure CLI: https://learn.microsoft.com/cli/azure. Nothing has been run yet.
set -eu

# A public client: it has no secret. People of this tenant only; they come back to their own machine.
app=$(az ad app create --display-name '{name}' \\
  --sign-in-audience AzureADMyOrg \\
  --public-client-redirect-uris http://localhost \\
  --is-fallback-public-client true \\
  --query appId --output tsv)
az ad sp create --id \"$app\" --output none

# What the app may do, always as the person who signs in and never more than they may.
"
    );
    for permission in permissions {
        let (service, scope) = permission.names();
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\
scope=$(az ad sp show --id {service} --query \"oauth2PermissionScopes[?value=='{scope}'].id | [0]\" --output tsv)
az ad app permission add --id \"$app\" --api {service} --api-permissions \"$scope=Scope\" --output none
"
        );
    }
    text.push_str(
        "\n# Consent for everybody, so that nobody is asked at their first sign-in. Leave it out to let people decide.
az ad app permission admin-consent --id \"$app\"

echo
echo 'People sign in from R with:'
echo \"  azure_sign_in(tenant = \\\"$(az account show --query tenantId --output tsv)\\\", client_id = \\\"$app\\\")\"
",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_name_the_app_and_what_was_chosen() {
        let text = commands("R at Contoso", &[Permission::Graph, Permission::Sql]);
        assert!(text.contains("--display-name 'R at Contoso'"), "{text}");
        assert!(text.contains("value=='User.Read'"), "{text}");
        assert!(text.contains("022907d3-0f1b-48f7-badc-1ba6abab6d66"));
        assert!(!text.contains("e406a681"), "{text}");
    }

    /// Runs the commands with an `az` that only writes down its arguments.
    #[cfg(unix)]
    #[test]
    fn a_shell_runs_the_commands_whatever_the_name_is() {
        use std::io::Write as _;
        use std::process::{Command, Stdio};
        let script = format!(
            "az() {{ printf '%s|' \"$@\" >&2; echo >&2; echo an-id; }}\n{}",
            commands("Ada's $(id) `id`", &Permission::USUAL)
        );
        let mut sh = Command::new("sh")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        sh.stdin
            .take()
            .unwrap()
            .write_all(script.as_bytes())
            .unwrap();
        let output = sh.wait_with_output().unwrap();
        let calls = String::from_utf8(output.stderr).unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{calls}");
        let first = calls.lines().next().unwrap();
        assert!(
            first.starts_with("ad|app|create|--display-name|Ada's $(id) `id`|"),
            "{first}"
        );
        let permissions = calls.matches("permission|add|--id|an-id|").count();
        assert_eq!(permissions, Permission::USUAL.len());
        assert!(
            said.ends_with("azure_sign_in(tenant = \"an-id\", client_id = \"an-id\")\n"),
            "{said}"
        );
    }
}
