#include "examples/common/report.hpp"

#include <sstream>
#include <vector>

#include "examples/common/files.hpp"
#include "examples/common/program.hpp"

namespace argtape_examples {
namespace {

// Colours of the text are at least 7 to 1 on their ground, light or dark. Pictures are drawn on
// white.
constexpr const char* kHead = R"(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>$title</title>
<meta name="description" content="$description">
<style>
:root { --ink: #1d2329; --soft: #46505a; --line: #c9d0d6; --paper: #ffffff; --shade: #f3f5f7; --link: #0b4f9e }
@media (prefers-color-scheme: dark) {
  /* White paper is dark paper with the hues kept. */
  img { filter: invert(.92) hue-rotate(180deg) }
  :root { --ink: #e9edf0; --soft: #b9c2ca; --line: #3d464e; --paper: #14181c; --shade: #1d2328; --link: #9cc8ff }
}
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 76rem; color: var(--ink); background: var(--paper);
       font: 1rem/1.55 system-ui, sans-serif; overflow-wrap: break-word }
p, ul { max-width: 60rem }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem }
h2 { font-size: 1.15rem; margin: 2.2rem 0 .5rem }
a { color: var(--link) }
.about, figcaption, caption { color: var(--soft) }
caption { text-align: left; padding-bottom: .4rem }
.wide { overflow-x: auto; margin: 1.2rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem }
th, td { padding: .28rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child, td:first-child, .words th, .words td { text-align: left }
.words td:last-child { white-space: normal }
thead th { background: var(--shade) }
tbody th { font-weight: 400 }
pre { margin: 0; padding: .7rem .9rem; background: var(--shade); font-size: .86rem; line-height: 1.4 }
summary { cursor: pointer; color: var(--link); padding: .4rem 0 }
figure { margin: 1.6rem 0 }
img { display: block; width: 100%; height: auto; min-width: 36rem; max-width: 50rem; background: #fff }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="about">$description</p>
)";

std::string replaced(std::string text, const std::string& word, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(word, at)) != std::string::npos; at += by.size())
    text.replace(at, word.size(), by);
  return text;
}

// What an address may hold of a text between quotes.
std::string in_address(const std::string& text) {
  constexpr const char* digits = "0123456789ABCDEF";
  std::string all;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code < 0x7f && std::string("\"#%<>&").find(c) == std::string::npos)
      all += c;
    else
      all += {'%', digits[code >> 4], digits[code & 15]};
  }
  return all;
}

// What is wider than the page is scrolled, by keys too.
std::string wide(const std::string& label, const std::string& inner) {
  return "<div class=\"wide\" role=\"group\" tabindex=\"0\" aria-label=\"" + html_text(label) +
         "\">" + inner + "</div>\n";
}

std::string table_html(const Table& table, const std::string& caption, const char* kind = "") {
  std::string html =
      std::string("<table") + kind + "><caption>" + caption + "</caption><thead><tr>";
  for (const std::string& header : table.headers())
    html += "<th scope=\"col\">" + html_text(header) + "</th>";
  html += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows()) {
    html += "<tr>";
    for (const Cell& cell : row) {
      const bool first = &cell == &row.front();
      html += (first ? "<th scope=\"row\">" : "<td>") + html_text(cell.text()) +
              (first ? "</th>" : "</td>");
    }
    html += "</tr>\n";
  }
  return html + "</tbody></table>";
}

// Columns, or lines that are set in: their blanks mean something.
bool in_columns(const std::vector<std::string>& lines) {
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const bool item = lines[i].compare(0, 2, "- ") == 0;
    const bool goes_on =
        i > 0 && lines[0].compare(0, 2, "- ") == 0 && lines[i].compare(0, 2, "  ") == 0;
    if (lines[i].find("  ", goes_on || item ? 2 : 0) != std::string::npos) return true;
  }
  return false;
}

// Whether a line was ended where the next one's first word would have had a place.
bool broken_on_purpose(const std::string& line, const std::string& next) {
  return text_width(line) + text_width(next.substr(0, next.find(' '))) < 90;
}

// One block of lines without an empty one between them.
std::string block_html(const std::vector<std::string>& lines) {
  std::string html;
  if (in_columns(lines))
    return wide("printed", "<pre>" + html_text(joined(lines, "\n")) + "</pre>");
  bool list = false;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string& line = lines[i];
    if (line.compare(0, 2, "- ") == 0) {
      html += (list           ? "</li>\n<li>"
               : html.empty() ? "<ul>\n<li>"
                              : "</p>\n<ul>\n<li>") +
              html_text(line.substr(2));
      list = true;
    } else {
      html += (i == 0                                           ? "<p>"
               : !list && broken_on_purpose(lines[i - 1], line) ? "<br>\n"
                                                                : "\n") +
              html_text(line);
    }
  }
  return html + (list ? "</li>\n</ul>\n" : "</p>\n");
}

}  // namespace

Report::Copy::int_type Report::Copy::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char one = traits_type::to_char_type(c);
  xsputn(&one, 1);
  return c;
}

// A reader who has gone takes nothing from the page: the stream learns of it at the end.
std::streamsize Report::Copy::xsputn(const char* s, std::streamsize n) {
  text.append(s, static_cast<std::size_t>(n));
  failed = failed || to->sputn(s, n) != n;
  return n;
}

int Report::Copy::sync() {
  failed = failed || to->pubsync() != 0;
  return 0;
}

Report::Report(std::ostream& out) : out_(out), printed_(out.rdbuf()) { out.rdbuf(&printed_); }

Report::~Report() { out_.rdbuf(printed_.to); }

void Report::end_text() {
  std::istringstream in(printed_.text + "\n\n");
  std::vector<std::string> block;
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) {
      block.push_back(line);
    } else if (!block.empty()) {
      body_ += block_html(block);
      block.clear();
    }
  }
  printed_.text.clear();
}

void Report::show(const Table& table, const std::string& name) {
  end_text();
  table.print(out_);
  printed_.text.clear();
  const std::string file = html_text(name) + ".csv";
  const std::string link = name.empty() ? "" : "<a href=\"" + file + "\">" + file + "</a>";
  body_ += wide(name.empty() ? "table" : name, table_html(table, link));
}

void Report::show_picture(const std::string& title, const std::string& svg,
                          const std::string& why) {
  end_text();
  const std::string words = html_text(title);
  if (svg.empty()) {
    body_ += "<p>" + words + ": " + html_text(why) + "</p>\n";
    return;
  }
  // As an image each picture keeps its names to itself: gnuplot gives all of them the same.
  body_ += "<figure>" +
           wide(title,
                "<img alt=\"" + words + "\" src=\"data:image/svg+xml," + in_address(svg) + "\">") +
           "</figure>\n";
}

void Report::explain(const std::string& words) { words_ += "<p>" + html_text(words) + "</p>\n"; }

std::string Report::html(const std::string& name, const std::string& description,
                         const Table& asked) {
  end_text();
  return replaced(replaced(kHead, "$title", html_text(name)), "$description",
                  html_text(description)) +
         "<details><summary>What was asked</summary>\n" +
         wide("flags", table_html(asked, "", " class=\"words\"")) + "</details>\n" + body_ +
         (words_.empty() ? "" : "<h2>What it means</h2>\n" + words_) +
         "</main>\n</body>\n</html>\n";
}

}  // namespace argtape_examples
