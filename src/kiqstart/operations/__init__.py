"""What operators see and do, in words that the command line and the dashboard share.

What reads or writes Redis raises redis-py's `RedisError` where that is away.
"""
