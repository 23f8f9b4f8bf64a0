-- A setting's value by its name.
SELECT current_setting($1)
