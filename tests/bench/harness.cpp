#include "tests/bench/harness.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "engine/system/memory.hpp"
#include "engine/threads.hpp"

namespace bench {
namespace {

std::uint64_t mix(std::uint64_t z) {
  z += 0x9E3779B97F4A7C15ull;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

double now_us() {
  return std::chrono::duration<double, std::micro>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

double cpu_us() {
  rusage r;
  getrusage(RUSAGE_SELF, &r);
  return 1e6 * static_cast<double>(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
         static_cast<double>(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

// Microseconds of CPU that the whole machine has spent.
double machine_us() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  double v[8] = {};
  stat >> cpu;
  for (double& x : v) stat >> x;
  return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) * 1e6 /
         static_cast<double>(sysconf(_SC_CLK_TCK));
}

double status_mb(const std::string& key) {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.rfind(key, 0) == 0) return std::atof(line.c_str() + key.size()) / 1024;
  return 0;
}

void wait_for_quiet(double seconds) {
  for (const double end = now_us() + seconds * 1e6; now_us() < end;) {
    const double before = machine_us();
    usleep(400000);
    if ((machine_us() - before) / 4e5 < 0.1) return;
  }
}

std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts;
  std::stringstream in(text);
  for (std::string part; std::getline(in, part, ',');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

void measure(const Named& named, int threads, double seconds) {
  argtape::set_threads(threads);
  const double base = status_mb("VmRSS:");
  const Workload workload = named.make();
  const std::vector<double> check = workload.check();
  Noise noise;
  argtape::release_cached_memory();
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << "5";  // from here VmHWM is the peak of the steps alone
  const double warm = now_us();
  for (int i = 0; i < 2 || now_us() - warm < seconds * 1e5; ++i) workload.step(noise);
  std::vector<double> times;
  const double machine = machine_us(), cpu = cpu_us(), start = now_us();
  while (times.size() < 7 || now_us() - start < seconds * 1e6) {
    const double before = now_us();
    workload.step(noise);
    times.push_back(now_us() - before);
  }
  const double wall = now_us() - start, spent = cpu_us() - cpu;
  const double others = std::max(0.0, machine_us() - machine - spent) / wall;
  std::sort(times.begin(), times.end());
  const std::size_t n = times.size();
  std::printf(
      "{\"workload\":\"%s\",\"impl\":\"ours\",\"threads\":%d,\"median_us\":%.3f,\"min_us\":%.3f,"
      "\"p10_us\":%.3f,\"p90_us\":%.3f,\"iters\":%zu,\"peak_rss_mb\":%.1f,\"base_rss_mb\":%.1f,"
      "\"cpu_us\":%.3f,\"others\":%.2f,\"check\":[",
      named.name.c_str(), threads, 0.5 * (times[(n - 1) / 2] + times[n / 2]), times[0],
      times[n / 10], times[n * 9 / 10], n, status_mb("VmHWM:"), base,
      spent / static_cast<double>(n), others);
  for (std::size_t i = 0; i < check.size(); ++i) std::printf("%s%.9g", i ? "," : "", check[i]);
  std::printf("]}\n");
  std::fflush(stdout);
}

}  // namespace

argtape::Tensor uniform(std::uint64_t seed, const argtape::Shape& shape, double low, double high) {
  argtape::Tensor t = argtape::uninitialised(shape);
  for (std::size_t i = 0; i < t.size(); ++i)
    t.data()[i] = static_cast<argtape::Scalar>(
        low + (high - low) * static_cast<double>(mix(mix(seed) + i) >> 40) * 0x1p-24);
  return t;
}

std::vector<std::size_t> integers(std::uint64_t seed, std::size_t n, std::uint64_t below) {
  std::vector<std::size_t> v(n);
  for (std::size_t i = 0; i < n; ++i) v[i] = mix(mix(seed) + i) % below;
  return v;
}

int run(int argc, char** argv, const std::vector<Named>& workloads) {
  std::vector<std::string> only, threads = {"1"};
  std::string seconds = "3";
  double quiet = 0;
  bool child = false;
  for (int i = 1; i < argc; ++i) {
    const std::string flag = argv[i];
    if (flag == "--list") {
      for (const Named& w : workloads) std::printf("%s\n", w.name.c_str());
      return 0;
    }
    if (flag == "--child") {
      child = true;
      continue;
    }
    if (i + 1 == argc) {
      std::fprintf(stderr, "%s: needs a value, or is no flag\n", flag.c_str());
      return 2;
    }
    const std::string value = argv[++i];
    if (flag == "--only")
      only = split(value);
    else if (flag == "--threads")
      threads = split(value);
    else if (flag == "--seconds")
      seconds = value;
    else if (flag == "--quiet")
      quiet = std::atof(value.c_str());
    else {
      std::fprintf(stderr,
                   "%s: no such flag; need --threads, --seconds, --quiet, --only or --list\n",
                   flag.c_str());
      return 2;
    }
  }
  int failed = 0;
  for (const std::string& t : threads)
    for (const Named& w : workloads) {
      if (!only.empty() && std::find(only.begin(), only.end(), w.name) == only.end()) continue;
      if (child) {
        measure(w, std::atoi(t.c_str()), std::atof(seconds.c_str()));
        continue;
      }
      wait_for_quiet(quiet);
      const pid_t process = fork();
      if (process == 0) {
        setenv("OMP_NUM_THREADS", t.c_str(), 1);
        setenv("OPENBLAS_NUM_THREADS", t.c_str(), 1);
        execl("/proc/self/exe", argv[0], "--child", "--threads", t.c_str(), "--only",
              w.name.c_str(), "--seconds", seconds.c_str(), static_cast<char*>(nullptr));
        _exit(127);
      }
      int status = 0;
      waitpid(process, &status, 0);
      if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        std::fprintf(stderr, "%s: failed\n", w.name.c_str());
        failed = 1;
      }
    }
  return failed;
}

}  // namespace bench
