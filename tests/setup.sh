# Sourced by tests/run and examples/run, which have set -euo pipefail. Defines
#   root                  the project's folder
#   need KIND...          installs the missing packages of these kinds, or says what is missing
#   need_sanitizers       clang's too, which it leaves as the compiler
#   configure FOLDER ...  sets a build folder up with these options of meson, unless it is already
#   build FOLDER ...      builds these targets of it, or all; silent but for a terminal's progress
# shellcheck shell=bash

root=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# CXX may carry arguments ("ccache g++"), as it may for meson.
read -r -a compiler <<<"${CXX:-c++}"
# Where there is ccache, meson uses it. Told to be sloppy with precompiled headers, it has been seen to
# give an old one, which g++ takes for another file than the header: so it keeps none.
export CCACHE_SLOPPINESS=time_macros

# Kind, Debian's name, conda-forge's name, and how to tell that it is there: a command, a header, a
# library, a module of Python, or a flag to link with; alternatives after a comma. `pictures`, `pypi`
# and `more` are optional.
packages='
needed   g++                 cxx-compiler   compiler
needed   meson               meson          command:meson
needed   ninja-build         ninja          command:ninja
needed   pkg-config          pkg-config     command:pkg-config
needed   libxtensor-dev      xtensor        header:xtensor/xarray.hpp,xtensor/containers/xarray.hpp
needed   libxtensor-blas-dev xtensor-blas   header:xtensor-blas/xlinalg.hpp
needed   libxsimd-dev        xsimd          header:xsimd/xsimd.hpp
needed   libsleef-dev        sleef          header:sleef.h
needed   libopenblas-dev     openblas       library:openblas
needed   liblapack-dev       liblapack      library:lapack
needed   zlib1g-dev          zlib           header:zlib.h
needed   libcli11-dev        cli11          header:CLI/CLI.hpp
needed   nlohmann-json3-dev  nlohmann_json  header:nlohmann/json.hpp
needed   doctest-dev         doctest        header:doctest/doctest.h
needed   libmpfr-dev         mpfr           header:mpfr.h
needed   librapidcheck-dev   rapidcheck     header:rapidcheck.h
pictures gnuplot-nox         gnuplot        command:gnuplot
pictures graphviz            graphviz       command:dot
pypi     python3-venv        python         module:ensurepip
clang    clang               clangxx        command:clang++
memcheck valgrind            valgrind       command:valgrind
more     clang-tools-19      clang-tools    command:clang-repl-19,clang-repl
more     chromium            chromium            command:chromium,chromium-browser,google-chrome
more     cmake              cmake          command:cmake
more     libopenmpi-dev      openmpi        command:mpicc
more     libbenchmark-dev    benchmark      header:benchmark/benchmark.h
'

die() {
  printf '%s: %s\n' "${0##*/}" "$1" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# True if the linker will find a library: where pkg-config, the compiler or conda keeps it.
have_library() {
  pkg-config --exists "$1" 2>/dev/null ||
    [[ $("${compiler[@]}" "-print-file-name=lib$1.so" 2>/dev/null) == */* ]] ||
    compgen -G "${CONDA_PREFIX:-/nowhere}/lib/lib$1.*" >/dev/null
}

# Fills `missing` and `missing_conda` with what is not there of the given kinds. The headers are
# looked up in one run of the preprocessor, which takes 10 ms.
find_missing() {
  local kind debian conda test name condition probe='' answers='' conda_include=''
  local -a flags rows=()
  missing=() missing_conda=()
  while read -r kind debian conda test; do
    [[ -n $kind && " $* " == *" $kind "* ]] || continue
    rows+=("$debian $conda $test")
    [[ $test == header:* ]] || continue
    condition=0
    for name in $(tr , ' ' <<<"${test#header:}"); do condition+=" || __has_include(<$name>)"; done
    probe+="#if $condition"$'\n'"\"have $debian\""$'\n'"#endif"$'\n'
  done <<<"$packages"

  [[ -z ${CONDA_PREFIX:-} ]] || conda_include=-isystem$CONDA_PREFIX/include
  read -r -a flags <<<"${CPPFLAGS:-} ${CXXFLAGS:-}"
  if have "${compiler[0]}"; then
    answers=$("${compiler[@]}" ${flags[@]+"${flags[@]}"} ${conda_include:+"$conda_include"} \
      -E -x c++ - <<<"$probe" 2>/dev/null || true)
  fi

  for name in ${rows[@]+"${rows[@]}"}; do
    read -r debian conda test <<<"$name"
    case $test in
      compiler) have "${compiler[0]}" ;;
      header:*) [[ $answers == *"\"have $debian\""* ]] ;;
      library:*) have_library "${test#library:}" ;;
      module:*) python3 -c "import ${test#module:}" 2>/dev/null ;;
      links:*)
        "${compiler[@]}" "${test#links:}" -x c++ -o /dev/null - <<<'int main() {}' 2>/dev/null
        ;;
      command:*)
        test=${test#command:}
        have "${test%%,*}" || have "${test##*,}"
        ;;
    esac || {
      missing+=("$debian")
      missing_conda+=("$conda")
    }
  done
}

# apt-get as root, silent unless it fails.
apt_get() {
  local log status=0
  local -a as_root=()
  ((EUID == 0)) || as_root=(sudo)
  log=$(mktemp)
  ${as_root[@]+"${as_root[@]}"} env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
    -o DPkg::Lock::Timeout=60 -o Acquire::Retries=1 -o Acquire::http::Timeout=20 "$@" \
    >"$log" 2>&1 || status=$?
  if ((status)) && [[ ${quiet_apt:-no} == no ]]; then cat "$log" >&2; fi
  rm -f "$log"
  return "$status"
}

need() {
  local kind package
  local -a needed=() optional=() wanted=() missing missing_conda
  for kind in "$@"; do
    case $kind in
      needed | clang | sanitizers | memcheck) needed+=("$kind") ;;
      *) optional+=("$kind") ;;
    esac
  done

  if [[ -n ${CXX:-} ]] && ! have "${compiler[0]}"; then
    die "CXX is '$CXX', but there is no ${compiler[0]}; need a C++17 compiler"
  fi
  find_missing ${optional[@]+"${optional[@]}"}
  wanted=(${missing[@]+"${missing[@]}"})
  find_missing "${needed[@]}"

  if ((${#missing[@]})); then
    if ! have apt-get; then
      die "packages are missing, and there is no apt-get to install them with
  Debian:      ${missing[*]}
  conda-forge: ${missing_conda[*]}"
    fi
    local by_hand="apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    if ((EUID != 0)) && ! have sudo; then
      die "packages are missing; run as root: $by_hand"
    fi
    echo "installing ${missing[*]}" >&2
    # A source that cannot be reached need not be one that matters: the installation decides.
    apt_get update || true
    apt_get install --no-install-recommends "${missing[@]}" ||
      die "apt-get could not install them; put it right, then run as root: $by_hand"
    hash -r
    find_missing "${needed[@]}"
    if ((${#missing[@]})); then die "installed, but still not found: ${missing[*]}"; fi
  fi

  # What is optional is no reason to ask for a password, nor to stop.
  if ((${#wanted[@]})) && have apt-get && { ((EUID == 0)) || sudo -n true 2>/dev/null; }; then
    local quiet_apt=yes
    echo "installing ${wanted[*]} (optional)" >&2
    apt_get update || true
    # One name that this release does not know would stop the others.
    for package in "${wanted[@]}"; do
      if apt_get install --no-install-recommends "$package"; then continue; fi
      echo "$package could not be installed; what needs it is left out" >&2
    done
    hash -r
  fi
}

# clang instruments these templates in a fifth of g++'s time. Its runtime is not in the libraries it
# links, only in the programs.
need_sanitizers() {
  local version
  need needed clang
  version=$(clang++ -dumpversion)
  packages+="sanitizers libclang-rt-${version%%.*}-dev compiler-rt links:-fsanitize=address"
  compiler=(clang++)
  need sanitizers
  export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
}

configure() {
  local folder=$root/$1 log
  local -a wipe=()
  shift
  if [[ -f $folder/build.ninja && -f $folder/meson-private/coredata.dat ]]; then
    # Build folders name their project by its full path, so one that was moved is stale.
    if [[ ! -f $folder/set_up_in || $(<"$folder/set_up_in") == "$root" ]]; then return; fi
    wipe=(--wipe)
  fi
  log=$(mktemp)
  if ! meson setup ${wipe[@]+"${wipe[@]}"} "$folder" "$root" "$@" >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "meson could not set up ${folder##*/}/, see above; if an older one is in the way, remove it"
  fi
  rm -f "$log"
  printf '%s\n' "$root" >"$folder/set_up_in"
}

build() {
  local folder=$root/$1 log line left=
  shift
  log=$(mktemp)
  if ! NINJA_STATUS='step %f %t %e ' ninja -C "$folder" "$@" 2>&1 | while IFS= read -r line; do
    if [[ ! $line =~ ^step\ ([0-9]+)\ ([0-9]+)\ ([0-9]+) ]]; then
      printf '%s\n' "$line" >>"$log"
    elif [[ -t 2 ]]; then
      left=$((BASH_REMATCH[3] * (BASH_REMATCH[2] - BASH_REMATCH[1]) / BASH_REMATCH[1]))
      printf '\r\033[Kbuilding %d of %d, %d:%02d left' "${BASH_REMATCH[@]:1:2}" $((left / 60)) \
        $((left % 60)) >&2
    fi
  done; then
    if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
    cat "$log" >&2
    rm -f "$log"
    die "the build in ${folder##*/}/ failed, see above"
  fi
  if [[ -t 2 ]]; then printf '\r\033[K' >&2; fi
  rm -f "$log"
}
