"""Is it as declared, and does every proof hold?"""
