"""The same packets as several sensors tell them: are devices, directions and features the same?"""
