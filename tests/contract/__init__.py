"""Does each driver keep its interface's promises?"""
