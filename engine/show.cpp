#include "engine/show.hpp"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>

ARGTAPE_PUBLIC_BEGIN
namespace {

std::string quoted(const std::string& s) {
  std::string q = "\"";
  for (char c : s) {
    if (c == '"' || c == '\\') q += '\\';
    q += c == '\n' ? ' ' : c;
  }
  return q + "\"";
}

// By Flow.
const char* const kEdges[] = {"color=black", "style=dashed, color=\"#D55E00\", penwidth=2",
                              "style=dotted, color=\"#CC0000\", penwidth=2"};

// backward_and_release() has given some values back.
std::string shown_shape(const Node& n) { return n.value ? str(n.value->shape()) : "(given back)"; }

}  // namespace

std::string to_text(const Tape& tape) {
  std::ostringstream out;
  for (std::size_t i = 0; i < tape.size(); ++i) {
    const Node& n = tape.node(i);
    out << '#' << i << ' ' << n.op.name << ' ' << shown_shape(n);
    for (std::size_t k = 0; k < n.inputs.size(); ++k) out << (k ? ", #" : " <- #") << n.inputs[k];
    if (n.parameter) out << "  (parameter)";
    if (n.op.flow == Flow::surrogate) out << "  ~ passes back a surrogate";
    if (n.op.flow == Flow::cut) out << "  x passes nothing back";
    out << '\n';
  }
  return out.str();
}

std::string to_dot(const Tape& tape) {
  std::ostringstream out;
  out << "digraph tape {\n  node [fontname=\"Helvetica\", shape=ellipse];\n";
  for (std::size_t i = 0; i < tape.size(); ++i) {
    const Node& n = tape.node(i);
    out << "  n" << i << " [label=" << quoted(n.op.name + " " + shown_shape(n));
    if (n.op.flow != Flow::exact)
      out << ", shape=box, style=filled, fillcolor="
          << (n.op.flow == Flow::cut ? "\"#F8D0D0\"" : "\"#FBE3CC\"");
    else if (n.parameter)
      out << ", style=filled, fillcolor=\"#CFE3F3\"";
    else if (n.inputs.empty())
      out << ", color=gray70";
    out << "];\n";
    for (std::uint32_t in : n.inputs)
      out << "  n" << in << " -> n" << i << " ["
          << (tape.node(in).wants_gradient ? kEdges[static_cast<int>(n.op.flow)] : "color=gray70")
          << "];\n";
  }
  out << "}\n";
  return out.str();
}

std::string to_svg(const Tape& tape) {
  namespace fs = std::filesystem;
  const fs::path folder = fs::temp_directory_path();
  std::string name = (folder / "argtape-XXXXXX").string();
  const int file = mkstemp(name.data());
  if (file < 0) return "";
  std::FILE* graph = fdopen(file, "w");
  const std::string text = to_dot(tape);
  std::fwrite(text.data(), 1, text.size(), graph);
  std::fclose(graph);
  std::string svg;
  if (std::FILE* dot = popen(("dot -Tsvg '" + name + "' 2>/dev/null").c_str(), "r")) {
    char buffer[4096];
    for (std::size_t n; (n = std::fread(buffer, 1, sizeof buffer, dot)) > 0;) svg.append(buffer, n);
    if (pclose(dot) != 0) svg.clear();
  }
  std::remove(name.c_str());
  return svg;
}

ARGTAPE_END
