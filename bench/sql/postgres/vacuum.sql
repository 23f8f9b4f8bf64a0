-- What a server does by itself when it has the time: tables frozen, with statistics.
VACUUM (FREEZE, ANALYZE)
