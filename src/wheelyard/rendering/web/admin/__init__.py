"""The pages for administrators: what their templates in `templates/admin/` show."""
