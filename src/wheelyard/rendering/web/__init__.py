"""The pages for people: documents and facts to HTML, by templates that anybody can read."""
