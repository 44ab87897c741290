#include "engine/show.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>
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
  out.exceptions(std::ios::badbit);  // not a text cut short where memory ends
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

std::ostream& operator<<(std::ostream& out, const Tape& tape) { return out << to_text(tape); }

std::string to_dot(const Tape& tape) {
  std::ostringstream out;
  out.exceptions(std::ios::badbit);
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
  std::string folder = (fs::temp_directory_path() / "argtape-XXXXXX").string();
  if (!mkdtemp(folder.data())) return "";
  const std::string graph = folder + "/graph", picture = folder + "/picture";
  std::ofstream(graph) << to_dot(tape);
  std::ostringstream svg;
  // With a limit on how often it improves the places: without one, 150 nodes take it a minute.
  const std::string dot =
      "dot -Gnslimit=2 -Gnslimit1=2 -Tsvg '" + graph + "' -o '" + picture + "' 2>/dev/null";
  if (std::system(dot.c_str()) == 0) svg << std::ifstream(picture).rdbuf();
  std::error_code ignored;
  fs::remove_all(folder, ignored);
  return svg.str();
}

ARGTAPE_END
