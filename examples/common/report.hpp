// What a run asked, printed, showed and drew, as one page of HTML.
#pragma once

#include <optional>
#include <ostream>
#include <streambuf>
#include <string>

namespace argtape_examples {

class Table;

// Collects a page from the top to the bottom. What is printed on `out` meanwhile is printed as
// before, and stands on the page as paragraphs, lists ("- ...") and, where it has columns, as it
// is.
class Report {
 public:
  explicit Report(std::ostream& out);
  ~Report();
  Report(const Report&) = delete;
  Report& operator=(const Report&) = delete;

  // Prints the table and puts it on the page, with a link to the file name.csv beside it, if it has
  // a name.
  void show(const Table& table, const std::string& name);
  // `svg`: the text of a picture; where it is empty, `why` says so in words.
  void show_picture(const std::string& title, const std::string& svg, const std::string& why);

  // Words that are not printed, below all that is.
  void explain(const std::string& words);

  // The page, whole: no script, no other file; light or dark as the reader has it, and for any
  // width. `asked` is a table of the flags and their values.
  std::string html(const std::string& name, const std::string& description, const Table& asked);

  // Whether all that was printed has gone through.
  bool printed() const { return !printed_.failed; }

 private:
  // Hands on what is written to it, and keeps a copy.
  class Copy : public std::streambuf {
   public:
    explicit Copy(std::streambuf* to) : to(to) {}
    std::streambuf* to;
    std::string text;
    bool failed = false;

   protected:
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* s, std::streamsize n) override;
    int sync() override;
  };

  void end_text();

  std::ostream& out_;
  Copy printed_;
  std::string body_, words_;
};

}  // namespace argtape_examples
