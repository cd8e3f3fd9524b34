"""git and Git LFS, unmodified, work with an emulated Azure DevOps by the helper alone.

Run in a session: `entrar demo -- python tests/git/test_git.py`. Every case runs with each git of the machine.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor

import keyrings
from azure_devops import AzureDevOps, Tenant

# Longer than any command here takes on a busy machine; what hangs fails.
LONGEST = 120
SESSION = ["RS_SERVER_ADDRESS", "RS_SESSION_RPC_COOKIE", "POSIT_PRODUCT"]
# As `entrar demo` has told git.
HELPER = os.environ["GIT_CONFIG_VALUE_1"].strip("!'")
OTHER_TENANT = "22222222-2222-4222-8222-222222222222"


def gits():
    """The machine's gits, each by its real path."""
    found = {}
    for path in ["/usr/bin/git", "/usr/local/bin/git", shutil.which("git")]:
        if path and os.path.exists(path):
            version = subprocess.run([path, "--version"], check=True, capture_output=True, text=True, timeout=LONGEST).stdout
            found.setdefault(os.path.realpath(path), version.split()[2])
    return found


def setUpModule():
    global SCRATCH, AZURE, TEMPLATE
    SCRATCH = tempfile.mkdtemp(prefix="azure-devops-")
    unittest.addModuleCleanup(shutil.rmtree, SCRATCH, ignore_errors=True)
    AZURE = AzureDevOps(SCRATCH, Tenant(os.environ["ENTRAR_DEMO_GRAPH"]))
    unittest.addModuleCleanup(AZURE.stop)
    TEMPLATE = os.path.join(SCRATCH, "template.git")
    source = os.path.join(SCRATCH, "template")
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
    for words in [
        ["init", "-q", "-b", "main", source],
        ["-C", source, "commit", "-q", "--allow-empty", "-m", "first"],
        ["clone", "-q", "--bare", source, TEMPLATE],
    ]:
        subprocess.run([*git, *words], check=True, capture_output=True, timeout=LONGEST)


class Cases:
    """The cases; a class below adds `git` and `version`."""

    def setUp(self):
        AZURE.reset()
        # An organisation of one's own keeps the helper's memory of refusals apart.
        name = self.id().rpartition(".")[2].removeprefix("test_").replace("_", "-")
        self.organisation = f"{name[:30]}-{self.version.replace('.', '-')}"
        self.base = f"https://dev.azure.com/{self.organisation}"
        self.url = f"{self.base}/project/_git/repository"
        self.repository = self.make_repository("project", "repository")
        self.home = tempfile.mkdtemp(dir=SCRATCH)
        self.addCleanup(shutil.rmtree, self.home, ignore_errors=True)
        self.config = os.path.join(self.home, ".gitconfig")
        self.variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("GIT_SSL", "GIT_PROXY"))},
            "HOME": self.home,
            "XDG_CONFIG_HOME": os.path.join(self.home, ".config"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "",
            "LC_ALL": "C",
            # git-lfs runs the git that it finds.
            "PATH": f"{os.path.dirname(self.git)}:{os.environ['PATH']}",
        }
        # A runtime directory of one's own, where nothing of another case is remembered.
        session = os.path.join(self.home, "session")
        os.mkdir(session)
        shutil.copy(os.path.join(os.environ["PWB_SESSION_RUNTIME_DIR"], "rpc_cookie"), session)
        self.variables["PWB_SESSION_RUNTIME_DIR"] = session
        self.addCleanup(self.forget)
        self.configure("http.proxy", AZURE.proxy.address)
        self.configure("http.sslCAInfo", AZURE.ca)
        self.configure("user.name", "Ada")
        self.configure("user.email", "ada@example.com")

    def make_repository(self, project, name):
        path = os.path.join(AZURE.repositories, self.organisation, project, name)
        shutil.copytree(TEMPLATE, path)
        self.addCleanup(shutil.rmtree, path, ignore_errors=True)
        return path

    def forget(self):
        """No token stays in the user's keyring."""
        request = b"protocol=https\nhost=dev.azure.com\n\n"
        subprocess.run([HELPER, "erase"], input=request, check=True, timeout=10, env=self.variables)

    def configure(self, key, value, *options):
        subprocess.run(
            [self.git, "config", "--file", self.config, *options, key, value], check=True, timeout=LONGEST, env=self.variables
        )

    def run_git(self, *words, cwd=None, succeeds=True, first=None, **variables):
        """What git printed, both streams; no token that was ever presented may be in it."""
        with subprocess.Popen(
            [self.git, *words],
            cwd=cwd or self.home,
            env={**self.variables, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=first,
        ) as git:
            try:
                shown, _ = git.communicate(timeout=LONGEST)
            except subprocess.TimeoutExpired:
                # With what it has started, which would go on: git-lfs in its loop, for one.
                os.killpg(git.pid, signal.SIGKILL)
                raise
        self.assertFalse(any(secret in shown for secret in AZURE.seen), "a token was printed")
        self.assertEqual(git.returncode == 0, succeeds, shown)
        return shown

    def clone(self, url=None, name="clone", **options):
        self.run_git("clone", "-q", url or self.url, name, **options)
        return os.path.join(self.home, name)

    def change(self, clone, name="file", size=10):
        with open(os.path.join(clone, name), "wb") as file:
            file.write(os.urandom(size))
        self.run_git("add", name, cwd=clone)
        self.run_git("commit", "-q", "-m", "change", cwd=clone)

    def head(self, directory):
        return self.run_git("rev-parse", "main", cwd=directory).strip()

    def refusals(self):
        """Why tokens were refused, in their order."""
        return [refusal for *_, refusal in AZURE.log if refusal and refusal != "no token"]

    def has_second_chance(self):
        return tuple(map(int, self.version.split(".")[:2])) >= (2, 46)

    def without_demo_settings(self):
        """git's own configuration decides, as for a person who has no `entrar demo`."""
        for name in list(self.variables):
            if name.startswith("GIT_CONFIG_") and name != "GIT_CONFIG_NOSYSTEM":
                del self.variables[name]

    def set_up(self, verb="configure"):
        subprocess.run([HELPER, verb], check=True, capture_output=True, timeout=LONGEST, env=self.variables)

    def recorder(self, name):
        """A helper that notes what it is asked, and answers nothing."""
        log = os.path.join(self.home, name)

        def asked():
            if not os.path.exists(log):
                return []
            with open(log, encoding="ascii") as file:
                return file.read().split()

        return f"!f() {{ echo $1 >> {log}; }}; f", asked

    def test_clone_fetch_and_push(self):
        one, two = self.clone(), self.clone(name="two")
        self.change(one)
        self.run_git("push", "-q", cwd=one)
        self.assertEqual(self.head(one), self.head(self.repository))
        self.run_git("pull", "-q", cwd=two)
        self.assertEqual(self.head(two), self.head(one))
        self.assertEqual(self.refusals(), [])

    def test_push_of_3_mb(self):
        clone = self.clone()
        self.change(clone, size=3 << 20)
        self.run_git("push", "-q", cwd=clone)
        self.assertEqual(self.head(clone), self.head(self.repository))
        packs = [size for method, _, path, size, _ in AZURE.log if path.endswith("/git-receive-pack")]
        self.assertEqual(packs[0], 4, "the probe")
        self.assertGreater(packs[-1], 3 << 20)

    def test_submodules(self):
        for name in ["inner", "innermost"]:
            self.make_repository("project", name)
        for outer, inner in [("inner", "innermost"), ("repository", "inner")]:
            clone = self.clone(f"{self.base}/project/_git/{outer}", name=f"with-{inner}")
            self.run_git("submodule", "add", "-q", f"{self.base}/project/_git/{inner}", "sub", cwd=clone)
            self.run_git("commit", "-q", "-m", "submodule", cwd=clone)
            self.run_git("push", "-q", cwd=clone)
        self.run_git("clone", "-q", "--recurse-submodules", self.url, "all")
        self.assertTrue(os.path.exists(os.path.join(self.home, "all", "sub", "sub", ".git")))
        self.run_git("submodule", "update", "--remote", "--recursive", cwd=os.path.join(self.home, "all"))

    def clone_with_submodules(self, **options):
        """A clone with 12 submodules; what the helper did, and how many different tokens were presented."""
        outer = os.path.join(self.home, "outer")
        self.run_git("clone", "-q", self.repository, outer)
        commit = self.head(outer)
        with open(os.path.join(outer, ".gitmodules"), "w", encoding="utf-8") as file:
            for number in range(12):
                self.make_repository("project", f"inner-{number}")
                self.run_git("update-index", "--add", "--cacheinfo", f"160000,{commit},sub-{number}", cwd=outer)
                file.write(f'[submodule "sub-{number}"]\n\tpath = sub-{number}\n\turl = ../inner-{number}\n')
        self.run_git("add", ".gitmodules", cwd=outer)
        self.run_git("commit", "-q", "-m", "submodules", cwd=outer)
        self.run_git("push", "-q", cwd=outer)
        trace = os.path.join(self.home, "trace")
        before = len(AZURE.tokens)
        command = ["clone", "-q", "--recurse-submodules", self.url, "all"]
        self.run_git(*command, GIT_CREDENTIAL_PWB_TRACE=trace, **options)
        self.assertTrue(os.path.exists(os.path.join(self.home, "all", "sub-11", ".git")))
        with open(trace, encoding="utf-8") as file:
            return file.read(), len(AZURE.tokens) - before

    def test_a_clone_with_12_submodules_is_one_exchange(self):
        traced, tokens = self.clone_with_submodules()
        expected = 1 if keyrings.are_there() else 13
        self.assertEqual((traced.count("trace: exchange: "), tokens), (expected, expected))
        self.assertEqual(traced.count("trace: keyring: the token that is kept there is taken"), 13 - expected)

    def test_a_kept_token_is_found_from_another_session_keyring(self):
        before = len(AZURE.tokens)
        for number, first in enumerate([keyrings.leave_session, None, keyrings.leave_session]):
            self.run_git("clone", "-q", self.url, f"clone-{number}", first=first)
        self.assertEqual(len(AZURE.tokens) - before, 1 if keyrings.are_there() else 3)

    def test_where_the_kernel_refuses_each_request_is_an_exchange(self):
        traced, tokens = self.clone_with_submodules(first=keyrings.refuse)
        self.assertEqual((traced.count("trace: exchange: "), tokens), (13, 13))
        refused = "trace: keyring: the kernel refuses (not permitted), so no token is kept"
        self.assertEqual(traced.count(refused), 13)

    def test_the_organisation_as_user_name(self):
        self.clone(f"https://{self.organisation}@dev.azure.com/{self.organisation}/project/_git/repository")

    def test_a_token_in_the_address(self):
        """As password it is sent without asking the helper; as user name alone it is not used at all."""
        address = f"dev.azure.com/{self.organisation}/project/_git/repository"
        trace = os.path.join(self.home, "trace")
        self.run_git("clone", f"https://me:canary@{address}", succeeds=False, GIT_CREDENTIAL_PWB_TRACE=trace)
        with open(trace, encoding="utf-8") as file:
            self.assertNotIn("trace: get: ", file.read())
        self.clone(f"https://{'a' * 84}@{address}")

    def test_visualstudio_com(self):
        clone = self.clone(f"https://{self.organisation}.visualstudio.com/project/_git/repository")
        self.change(clone)
        self.run_git("push", "-q", cwd=clone)
        self.assertEqual(self.head(clone), self.head(self.repository))

    def test_spaces_and_percent_encoding(self):
        self.make_repository("my project", "a+b é")
        for path in ["my%20project/_git/a+b%20%C3%A9", "my%20project/_git/a%2Bb%20%c3%a9"]:
            self.clone(f"{self.base}/{path}", name=path[-6:])

    def test_an_expired_token(self):
        AZURE.ahead, AZURE.ahead_for = 7200, 1
        if self.has_second_chance():
            self.clone()
            self.assertEqual(self.refusals(), ["expired"])
        else:
            self.assertIn("Authentication failed", self.run_git("clone", self.url, succeeds=False))
            self.clone()

    def test_a_server_to_which_every_token_has_expired(self):
        AZURE.ahead, AZURE.ahead_for = 7200, 100
        self.assertIn("Authentication failed", self.run_git("clone", self.url, succeeds=False))
        tokens = 2 if self.has_second_chance() else 1
        self.assertEqual(self.refusals(), ["expired"] * tokens)

    def test_a_revoked_token(self):
        AZURE.revoke = 1
        if self.has_second_chance():
            self.clone()
            self.assertEqual(self.refusals(), ["revoked"])
        else:
            self.assertIn("Authentication failed", self.run_git("clone", self.url, succeeds=False))
            self.clone()

    def test_revoked_tokens_one_after_the_other(self):
        AZURE.revoke = 100
        for _ in range(2):
            self.run_git("clone", self.url, succeeds=False)
        shown = self.run_git("clone", self.url, succeeds=False)
        self.assertIn(f"{self.organisation} has refused two tokens within a minute", shown)
        self.assertIn("told us to quit", shown)

    def test_the_wrong_tenant(self):
        AZURE.other_tenant = OTHER_TENANT
        shown = self.run_git("clone", self.url, succeeds=False)
        if tuple(map(int, self.version.split(".")[:2])) >= (2, 41):
            self.assertIn(
                f"git-credential-pwb: the Azure DevOps organisation {self.organisation} belongs to tenant "
                f"{OTHER_TENANT}, but your sign-in is with tenant {AZURE.tenant.id}.",
                shown,
            )
        # Another token would be no better.
        self.assertEqual(self.refusals(), ["wrong tenant"])

    def test_no_session(self):
        for name in SESSION:
            self.variables.pop(name, None)
        shown = self.run_git("clone", self.url, succeeds=False)
        self.assertIn("git-credential-pwb: no token for Azure DevOps: there is no session to ask", shown)
        self.assertIn("terminal prompts disabled", shown)

    @unittest.skipUnless(shutil.which("script"), "no command `script` to make a terminal")
    def test_a_prompt_that_nobody_would_see(self):
        """A script on a terminal whose output goes elsewhere: git must not wait there."""
        for name in SESSION:
            self.variables.pop(name, None)
        del self.variables["GIT_TERMINAL_PROMPT"]
        command = f"{self.git} clone {self.url} > {self.home}/log 2>&1"
        # script gives it a terminal of its own.
        subprocess.run(
            ["script", "-qec", command, "/dev/null"],
            env=self.variables,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            timeout=LONGEST,
            check=False,
        )
        with open(f"{self.home}/log", encoding="utf-8") as log:
            self.assertIn("told us to quit", log.read())

    def test_another_helper_before(self):
        self.without_demo_settings()
        helper, asked = self.recorder("before")
        self.configure("credential.helper", helper)
        self.set_up()
        self.clone()
        self.assertEqual(asked(), [])

    def test_another_helper_after(self):
        self.without_demo_settings()
        self.set_up()
        helper, asked = self.recorder("after")
        self.configure("credential.helper", helper, "--add")
        self.clone()
        # git tells every helper of a success, but ours answered.
        self.assertNotIn("get", asked())
        # Set up again, ours stands last and resets it.
        self.set_up()
        before = asked()
        self.clone(name="again")
        self.assertEqual(asked(), before)

    def test_taken_out_again(self):
        self.without_demo_settings()
        self.set_up()
        self.set_up("unconfigure")
        helper, asked = self.recorder("other")
        self.configure("credential.helper", helper)
        self.assertIn("terminal prompts disabled", self.run_git("clone", self.url, succeeds=False))
        self.assertIn("get", asked())

    def test_a_helper_that_stores_gets_nothing(self):
        self.configure("credential.helper", "store")
        clone = self.clone()
        # The session's settings come last of all, also after a repository's own.
        self.run_git("config", "credential.helper", "store", cwd=clone)
        self.run_git("fetch", cwd=clone)
        self.without_demo_settings()
        self.set_up()
        self.clone(name="other")
        self.assertFalse(os.path.exists(os.path.join(self.home, ".git-credentials")))

    def test_four_fetches_at_once(self):
        clones = [self.clone(name=f"clone-{number}") for number in range(4)]
        self.change(clones[0])
        self.run_git("push", "-q", cwd=clones[0])
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda clone: self.run_git("fetch", "-q", cwd=clone), clones))
        for clone in clones:
            fetched = self.run_git("rev-parse", "origin/main", cwd=clone).strip()
            self.assertEqual(fetched, self.head(self.repository))

    def lfs_clone(self):
        self.run_git("lfs", "install", "--skip-repo")
        clone = self.clone()
        self.run_git("lfs", "install", "--local", cwd=clone)
        self.run_git("lfs", "track", "*.bin", cwd=clone)
        self.run_git("add", ".gitattributes", cwd=clone)
        for number in range(3):
            self.change(clone, f"{number}.bin", 100_000)
        return clone

    def test_lfs_push_and_pull(self):
        clone = self.lfs_clone()
        self.run_git("push", cwd=clone)
        other = self.clone(name="other")
        for name in ["0.bin", "1.bin", "2.bin"]:
            with open(os.path.join(clone, name), "rb") as pushed, open(os.path.join(other, name), "rb") as pulled:
                self.assertEqual(pushed.read(), pulled.read())
        self.run_git("lfs", "pull", cwd=other)
        stored = [path for method, _, path, _, refusal in AZURE.log if method == "PUT" and not refusal]
        self.assertEqual(len(stored), 3)

    def test_a_refused_lfs_token(self):
        clone = self.lfs_clone()
        AZURE.refuses_lfs = True
        AZURE.log.clear()
        shown = self.run_git("push", cwd=clone, succeeds=False)
        self.assertIn(f"{self.organisation} has refused two tokens within a minute", shown)
        self.assertLessEqual(self.refusals().count("no LFS for you"), 2)

    def test_the_trace(self):
        shown = self.run_git(
            *["clone", self.url], GIT_TRACE="1", GIT_TRACE_CURL="1", GIT_CURL_VERBOSE="1", GIT_TRANSFER_TRACE="1"
        )
        traced = re.findall("^git-credential-pwb: trace: (.*)$", shown, re.MULTILINE)
        text = "\n".join(traced)
        for fact in [
            f"host: dev.azure.com, organisation {self.organisation}\n",
            f"session: {os.environ['RS_SERVER_ADDRESS']}, from RS_SERVER_ADDRESS\n",
            "resource: 499b84ac-1321-427f-aa17-267ca6975798\n",
            "token: expires 20",
            f"tenant: token {AZURE.tenant.id}, challenge ",
            "store: the token was accepted; nothing is stored",
        ]:
            self.assertIn(fact, text)
        if tuple(map(int, self.version.split(".")[:2])) >= (2, 41):
            self.assertIn(f"challenge {AZURE.tenant.id}: the same", text)

    def test_the_trace_of_lfs(self):
        clone = self.lfs_clone()
        shown = self.run_git("push", cwd=clone, GIT_TRACE="1", GIT_CURL_VERBOSE="1", GIT_TRANSFER_TRACE="1")
        self.assertIn("git-credential-pwb: trace: answer: a user name and a token", shown)

    def test_the_report_in_r(self):
        # Sent along, it would be refused, or give the tenant no occasion to be told.
        self.configure(f"http.{self.base}/.extraHeader", "Authorization: Basic Y2FuYXJ5OmNhbmFyeQ==")
        code = f"r <- entrar::azure_git_sitrep('{self.organisation}'); print(r); print(r$tenant_matches)"
        ran = subprocess.run(
            ["Rscript", "--vanilla", "-e", code],
            env=self.variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=True,
        )
        self.assertFalse(any(secret in ran.stdout + ran.stderr for secret in AZURE.seen))
        self.assertRegex(ran.stdout, r"(?m)^configured: +yes, in this session.s environment")
        self.assertRegex(ran.stdout, r"(?m)^token: +yes, it would expire 20")
        self.assertRegex(ran.stdout, r"(?m)^bypassed: +The setting http.<url>.extraHeader in ")
        self.assertNotIn("Y2FuYXJ5", ran.stdout)
        self.assertRegex(ran.stdout, rf"(?m)^tenant: +{AZURE.tenant.id}, the token's is the same$")
        # No token was sent anywhere for it.
        self.assertEqual({refusal for *_, refusal in AZURE.log}, {"no token"})

    def tearDown(self):
        """Nothing that the helper left behind holds a token."""
        for directory in [self.home, os.environ["PWB_SESSION_RUNTIME_DIR"]]:
            for base, _, names in os.walk(directory):
                for name in names:
                    path = os.path.join(base, name)
                    if os.path.isfile(path) and os.path.getsize(path) < 1_000_000:
                        with open(path, "rb") as file:
                            text = file.read().decode("latin-1")
                        self.assertFalse(any(secret in text for secret in AZURE.seen), path)


def load_tests(loader, _tests, _pattern):
    suite = unittest.TestSuite()
    for path, version in gits().items():
        case = type(f"Git_{version.replace('.', '_')}", (Cases, unittest.TestCase), {"git": path, "version": version})
        suite.addTests(loader.loadTestsFromTestCase(case))
    return suite


if __name__ == "__main__":
    print("git:", ", ".join(f"{version} ({path})" for path, version in gits().items()), file=sys.stderr)
    unittest.main(verbosity=2 if "-v" in sys.argv else 1)
