"""What a service shows of its database: pool statistics, slow statements, tagged statements, traces and metrics.

Everything here is attached to a `Database` by a call and detached by calling what that returned; what is not attached
costs nothing.

    from svc_infra.db.sql.observability.slow_log import log_slow_statements
    log_slow_statements(database, threshold_ms=500)
"""
